"""A small catalogue with opening hours, and the real matcher over it."""

from __future__ import annotations

import pytest

from ivr.intent.matcher import Matcher
from ivr.queues.catalogue import Catalogue, parse_catalogue

YAML = """
default_queue: general
person:
  key: "0"
  phrases: {cmn: [人工, 转人工, 我要找人], yue: [人工服务, 揾人听, 驳去人工]}
emergencies:
  - number: "119"
    name: {cmn: 火警, yue: 火警, en: Fire}
    phrases: {cmn: [着火了, 起火了, 房子烧起来了], yue: [火烛啊, 着咗火, 间屋烧紧]}
queues:
  - id: social_security
    name: {cmn: 社会保障, yue: 社会保障, en: Social security}
    agents: 4
    hours: {mon-fri: "08:30-18:00"}
    phrases:
      cmn: [我要查社保, 养老保险怎么交, 医保卡丢了, 失业金怎么领, 社保断交了]
      yue: [我想查吓社保, 养老保险点样供, 医保卡唔见咗, 失业金点攞, 社保断咗]
  - id: housing_fund
    name: {cmn: 城管公积金, yue: 城管公积金, en: Housing fund}
    agents: 4
    hours: {mon-fri: "08:30-18:00"}
    phrases:
      cmn: [我要提取公积金, 公积金怎么查, 路边乱摆摊, 工地太吵, 公积金贷款]
      yue: [我想攞公积金, 公积金点样查, 路边有人摆档, 地盘好嘈, 公积金借钱]
  - id: general
    name: {cmn: 综合, yue: 综合, en: General}
    agents: 4
    hours: HOURS
    phrases:
      cmn: [学校报名, 看病挂号, 结婚登记, 公交车不来, 养老院床位]
      yue: [小朋友入学, 睇医生挂号, 点样注册结婚, 巴士成日唔嚟, 老人院有冇位]
"""


@pytest.fixture(scope="session")
def catalogue() -> Catalogue:
    return parse_catalogue(YAML.replace("HOURS", "24x7"))


@pytest.fixture(scope="session")
def office_hours_catalogue() -> Catalogue:
    """Every queue, the default one too, keeps office hours."""
    return parse_catalogue(YAML.replace("HOURS", '{mon-fri: "08:30-18:00"}'))


@pytest.fixture(scope="session")
def matcher(catalogue: Catalogue) -> Matcher:
    return Matcher(catalogue)
