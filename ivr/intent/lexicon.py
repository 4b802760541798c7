"""Words that mean much the same, in both languages: how a caller's word finds a phrase's word.

The catalogue says 派出所, the caller 差人; it says 领, the caller 攞. Each line below is one
concept, with lines that begin with + to go on. A text that holds one of its words has the concept,
which is weighed with the n-grams like any other feature (a rare concept proves more). A concept
belongs to no queue: which queue it speaks for is learnt from the catalogue's phrases. Words are
in Kapok's spelling, see :mod:`ivr.intent.normalise`.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping

import ahocorasick

__all__ = ["Finder", "concepts", "words"]

_CONCEPTS = """
shop        商家 店家 商店 店铺 铺头 间铺 间店 店 档口 卖家 商户 老板娘 超市 商场 药房 药店
+           卖嘢 网店 淘宝 拼多多 京东
eat_out     餐厅 餐馆 饭店 饭馆 酒楼 茶楼 食肆 餐饮 大排档 火锅店 茶餐厅 饭堂 食堂 外卖 堂食
+           食嘢 送餐 骑手 美团 饿了么 菜品 服务员 包厢 订座 位费 餐具 饭馆子 小吃 奶茶店
+           咖啡店 餐牌
goods_fault 质量 有问题 坏了 坏咗 毛病 瑕疵 次品 残次 翻新 二手 不合格 开裂 掉色 用不了 用唔到
+           故障 烂咗 甩色 烂了 裂开 漏电 不制冷 唔冻 死机 黑屏 起球 缩水 破损 生锈 掉漆 开胶
+           爆裂 变形 不好用 唔好用
fake        假货 假嘢 冒牌 山寨 假的 假嘅 假药 假酒 假烟 仿冒 仿品 盗版 高仿 不是正品 唔系真
+           水货 掺假 假冒 伪劣 三无 正品 真伪 假证书 掉包 以次充好
refund      退款 退钱 退返 退货 退费 退团 退票 退定金 退订金 退换 退订 退押金 退按金 不给退
+           唔肯退 唔畀退 不肯退 退不了 退唔到 退租金 不退 唔退 退返钱 要回 攞返钱 攞翻 拿回
+           赔偿 赔钱 索赔 唔肯赔 不肯赔 不赔 不还 唔还 唔发货 不发货 违约金 取消订单
exchange    换货 不肯换 唔肯换 保修 包换 维修 保养 售后 三包 质保 修不好 整唔好 返修 上门 安装
+           换新 退换货 质保期 保修期
prepaid     会员卡 充值 增值 预付 储值 套票 套餐卡 次卡 年卡 月卡 办的卡 办了一张 张卡 疗程
+           办卡 储值卡 会员 年费 课时 剩余 仲有钱 卡里 张卡入面 预充值
run_off     跑路 走佬 走咗佬 倒闭 执笠 关门 关张 人去楼空 失联 卷款 执咗
salon       理发 美容 美发 发型 剪发 美甲 按摩 足浴 健身 瑜伽 纹眉 祛斑 整容 游泳馆 影楼 影相
+           摄影 婚纱 婚庆 月子中心 家政 保姆 洗衣店 干洗 美睫 减肥中心 私教 教练 游泳卡 健身卡
course      培训 补习 兴趣班 补课 辅导班 学费 网课 驾校 早教
expired     过期 变质 发霉 发臭 臭嘅 异物 虫 头发丝 不新鲜 唔新鲜 馊 烂水果 保质期 生产日期
+           腐烂 蟑螂 苍蝇 头发 沙石 老鼠屎 变味 酸臭
sick_eating 拉肚子 肚痾 肚屙 肚痛 吃坏 食坏 腹泻 呕吐
price       价格 标价 价钱 涨价 收费 乱收 多收 收多 宰客 欺诈 坐地起价 结账 埋单 收银 明码标价
+           天价 小票 加价 涨费 抬价 贵咗 太贵 收贵 打折 优惠券 促销 减价 大减价 价目 找续 找零
+           收错钱 扣多 多扣 油站 加油站 加油 少咗油
false_ad    虚假 夸大 广告 宣传 描述 实物 讲到 忽悠 误导 诱导 呃人 骗人 骗了 骗我 呃咗 呃我
+           货不对板 图文不符
weight      缺斤 短两 少两 少了半斤 少咗 呃秤 秤 够秤 公平秤
market      菜市场 街市 市场 肉菜 卖菜 卖餸 水果 海鲜 猪肉 卖肉 买菜
jewellery   黄金 金链 首饰 戒指 玉 翡翠 手镯 金饰 钻石 成色
net_shop    网购 网上买 上网买 直播 带货 网店 淘宝 抖音 快递 包裹 快件 下单 客服不理 店主 卖家
+           差评 发货 收货 物流 退货 双十一 团购 砍价 预售 客服 平台 代购 抢购
travel      旅行社 旅游 旅行团 跟团 导游 酒店 民宿 机票 团费 景区 景点 购物团
fit_out     装修 家装 家具 家俬 甲醛 油漆 地板 橱柜 木门 瓷砖 偷工减料 床垫 沙发 衣柜 装修队
+           装修佬 施工队 建材 门窗 地产中介 房产中介 中介费
appliance   冰箱 雪柜 空调 冷气 洗衣机 电视机 热水器 家电 电器 手机 电脑 平板 耳机 充电器
+           充电宝 手表 相机 微波炉 电饭煲 抽油烟机 衫 衣服 鞋 羽绒 裤 包包 化妆品 护肤品 面膜
+           奶粉 婴儿车 玩具
deposit     定金 订金 押金 按金 预付款 保证金 首付
consumer    消费 维权 一二三一五 市场监管 工商 消委会 消协 消费者
car_trade   四S店 车行 新车 二手车 提车 买车 订车
telecom     话费 电话费 宽带 流量 套餐 扣费 移动公司 电信 联通 漫游 携号转网 销户 停机 光纤
+           网速 合约机 手机卡 电话卡 增值服务
elder_goods 保健品 骗老人 呃老人 老人家 推销 保健
game        游戏 打机 充值 打赏
receipt     开发票 收据 小票 凭证
social      社保 社会保险 五险 参保 投保 缴费 供款 断供 断交 断缴 补缴 补供 社会保障 社保基数
+           基数 社保局 缴费年限 五险一金 供满 供够 供够几多年 参保证明 社保关系 社保账户
+           社保号
pension     养老 退休 退休金 养老金 老人金 退得休 退唔退得休 领退休 延迟退休 退咗休 养老待遇
+           工龄 视同缴费 提前退休 生存认证 养老关系 攞退休
medical_in  医保 报销 报返 报账 报返几多 门诊 住院费 住院 统筹 异地就医 大病 医药费 睇病 看病
+           医疗 医保卡 报销比例 定点医院 特病 慢性病 起付线 门特 医疗保险 医疗费 买药 药费
+           睇医生嘅钱 碌唔到 刷不了
jobless     失业 冇咗份工 冇工开 下岗 没工作了 丢了工作 被裁 裁员 炒咗 炒鱿鱼 辞退 开除 解雇
+           解聘 遣散 裁咗 裁了 裁掉 补偿金 赔偿金 N加一 离职 辞职 辞咗工 炒我 解散 失业保险
injury      工伤 上班受伤 返工整亲 整亲 受伤 职业病 伤残 劳动能力 上班途中 返工途中 上班路上
+           骨折 断手 工地受伤 跌亲 伤残等级 工亡 做嘢整亲
birth_pay   生育 生孩子 生小孩 生仔 生娃 产假 陪产 产检 分娩 坐月子 哺乳 二胎 二孩 三胎 三孩
+           生第二胎 顺产 剖腹 怀孕 大肚 孕妇 哺乳假 育儿假 生育险
wage        工资 拖欠 拖粮 出粮 欠薪 讨薪 薪水 薪资 粮单 底薪 拖咗 加班费 加班 工钱 发工资
+           扣工资 人工啲数 最低工资 年终奖 压工资 压了 压咗 两个月人工 出唔到粮 没发钱 欠我
+           欠咗 欠农民工 奖金 提成 年假 高温津贴 全勤
labour      劳动 仲裁 劳动合同 签合同 试用期 社保局 人社 人社局 劳动局 劳动监察 竞业 劳务 派遣
+           社会保险费 用工 劳务派遣 加班 调岗 违法解除 工会 工作证明 离职证明
job         找工作 揾工 招聘 就业 求职 职业 技能 上岗
boss        老板 老细 单位 雇主 用人单位
flexible    灵活就业 自由职业 个人缴 自己交 自己供 个体参保 自己买
fund        公积金 住房公积金 房积金 公积金中心 缴存 月缴 汇缴 销户提取 提公积金 冲还贷 对冲
loan        贷款 供楼 按揭 房贷 还贷 借钱 月供 首套
withdraw    提取 攞出嚟 取出来 提出来 攞返 攞晒 取出 支取 提现 攞得返
rent        租房 租屋 房租 交租 租客 出租屋 出租房 房东 包租 租金 租住 租楼
illegal_b   违建 僭建 违章建筑 违章搭建 搭建 加建 乱搭 私搭 铁皮 起屋 违法建设 扩建阳台 天台
+           阁楼 加盖 棚 铁棚 违规搭 封阳台 改建 拆承重墙 加层 私自加建 天面 围蔽
hawker      小贩 走鬼 摆摊 占道 摆档 路边摊 路边档 流动摊 地摊 人行道 行人路 摊贩 霸晒 阻街
+           摆卖 夜市 烧烤摊 早餐车 占用人行 占用道路 霸路 乱摆卖
fumes       油烟 烧烤 炭烧 熏 烟囱 排烟
site_noise  施工 工地 地盘 开工 打桩 噪音 扰民 吵得 好嘈 嘈到 噪声 装修噪音 电钻 太吵 广场舞
+           冲击钻 嘈音 噪声大 夜间施工 机器声 空调外机 嘈死 吵死 装修嘈 唱K 夜晚开工 施工单位
dust        灰尘 扬尘 泥头 泥头车 泥土 渣土 建筑垃圾 余泥 沙尘 撒漏
rubbish     垃圾 废品 垃圾桶 环卫 清扫 清运 扫街 冇人收 冇人执 卫生死角 污糟 又脏又臭 老鼠 杂物
+           堆放 堆满 清理 乱丢 乱扔 乱抛 高空抛物 烟头 狗屎 垃圾站 垃圾桶满 臭味 环境卫生 异味
+           蚊虫 蟑螂多 老鼠多
lamp        路灯 街灯 不亮 唔着 冇灯 黑漆漆 照明 楼道灯 灯柱 闪烁
manhole     井盖 沙井 沙井盖 坑洞 窨井
road_hole   路面 坑坑洼洼 陷咗 塌了 塌陷 路窿 烂路 破损 凹凸 地砖 路砖 起翘 翘起 翘晒 路面破
+           沥青 盲道 护栏 栏杆 天桥 隧道 路不平 烂咗条路
drain       下水道 坑渠 污水 堵塞 塞咗 堵了 水浸 积水 内涝 化粪池 排水 倒流 浸水 落雨水浸 雨水
+           排污口 水渠 渠盖 污水井 渠 反水
tree        树木 大树 树枝 树倒 棵树 绿化 修剪 剪树 冧咗 草坪 绿化带 花槽 花坛 花草 踩烂 踩坏
+           枯树 落叶 砍树 树根
poster      小广告 街招 牛皮癣 广告牌 招牌
toilet      公厕 厕所 公共厕所 洗手间
bike        共享单车 单车 乱停乱放 乱泊 乱放 乱咁泊
parking_lot 车位 停车位 停车场 停车费 车库 地锁
property    物业 管理处 管理费 物管 业委会 业主 维修基金 小区 业委 停车费 公共收益 楼道 楼梯口
+           楼梯 门禁 物管费 保洁 业主群 花园小区
lift        电梯 𨋢 升降机 困梯 电梯维修 电梯坏
leak        漏水 渗水 滴水
pub_house   公租房 公租屋 保障房 廉租 共有产权
hukou       户口 户籍 入户 落户 迁户 户口本 户口簿 上户口 迁来 迁嚟 迁到 迁出 分户 人才入户
+           转户 户口转 转成广州户口 转做广州户口 集体户 亲属投靠 学历入户 落户广州 农转非
+           销户口
id_card     身份证 临时身份证
residence   居住证 暂住证 居住登记
passport    护照 通行证 签注 签证 出入境 港澳 出境 出国 入境 台湾 去香港 去澳门 自助签注 鬼佬
+           外国人 旅行证 回乡证 台胞证 绿卡 停留 居留 过境 旅游签 加注 续签 出国签证 自助办证
licence     驾照 驾驶证 驾驶执照 车牌换 扣分 扣十二分 十二分 考驾照 换证 行驶证 学车 科目 学习
+           记分 满分 审验 准驾 学法减分 实习期 换领
traffic_v   违章 罚单 抄牌 牛肉干 闯红灯 冲红灯 超速 贴条 罚款 扣几分 扣几多分 扣晒 电子警察
+           超载 酒驾 醉驾 电子眼 超车 逆行 压线 违法停车 乱停 乱泊 乱停车 占用应急车道 记录
+           交通违法 查违章 违例 随意停车 并线 禁停 交通罚款
plate       车牌 上牌 摇号 年审 年检 验车 电动车 电鸡 电动自行车 行驶证 限行 过户车
move_car    挪车 挪走 挪开 挡住 堵住 霸住 阻住 车主 停在我 泊喺 泊车 乱停车 违停 泊住
signal      红绿灯 信号灯 灯位 斑马线 红灯 绿灯 交通灯 标线 行人灯 塞车 堵车 拥堵
police      派出所 公安 公安局 民警 警察 差人 差馆 警方 报案 案件 立案 报失 警局 交警 阿sir
burglar     贼 入屋 爆格 爆窃 入室 抢劫 打劫 抢了 抢咗 绑架 抱走
violence    打人 打架 打交 斩人 砍人 拿刀 揸刀 持刀 杀人 被打 畀人打 家暴 打我 捅人
fire        着火 起火 失火 火灾 火烛 火警 冒烟 浓烟 烧起 烧着 消防车 救火 山火 着咗火 爆炸
trapped     被困 困咗 困住 困喺 困在 压住 跌落 掉到 落水 溺水
ambulance   救护车 白车 晕倒 晕低 昏迷 唔省人事 休克 抽搐 抽筋 中风 流血 流了好多血 流好多血
+           流了很多血 呼吸 心脏病 起不来 起唔到身 要生了 就生喇 嚟生 自杀 触电 中毒
crash       车祸 撞车 追尾 撞埋 撞亲 撞到 撞人 撞了 撞咗 相撞 撞在 交通事故 交通意外 肇事 翻车
+           反咗 刮花 被刮
suicide     跳楼 自杀 轻生 想死 割脉
crime       诈骗 聚众赌博 骗子 被骗 小偷 盗窃 偷走 偷咗 偷了 被偷 畀人偷 赌博 赌钱 开赌 聚赌
+           赌档 毒品 吸毒 贩毒 白粉 卖淫 嫖娼 传销 敲诈 勒索 恐吓 可疑 犯罪 犯法 犯过事 案底
+           打架 嗌交 吵架 黑社会 转账 过数 涉黄 举报 诈骗短信 骗钱 电信诈骗 刷单 冒充 可疑人员
+           赌场 麻将馆 打麻将赌 违法 违法犯罪 非法 色情 偷电动车 偷单车 扒手 荷包 勒索信
lost        丢了 丢失 遗失 弄丢 唔见咗 不见了 冇咗 漏咗 漏喺 遗落 掉了 跌咗 捡到 执到 拾到 失物
+           补办 补返 点补 怎么补
wallet      钱包 银包 手袋 背包
dog         养狗 狗证 只狗 遛狗 犬 恶狗 流浪狗 狗叫 狗吠 大狗 烈性犬 狗绳 狗咬 咬人 犬证 狗牌
+           养犬 狗屎
night_noise 唱歌 唱K 半夜 深夜 三更 凌晨 大声
rename      改名 改姓 改名字 更改姓名 曾用名
newborn     出生 刚出生 啱出世 新生儿 出世 啱生 满月 BB 小孩出生 初生
school      学校 小学 中学 初中 高中 幼儿园 学位 入学 上学 读书 读小学 学生 老师 教师 招生 收生
+           中考 高考 学区 停课 转学 校园 返学 学籍 借读 班主任 补课 收钱 学费 校服 校车 课后
+           托管 作业 学区房 民办 公办 摇号入学 插班 大学 职校 寄宿 校长 开学 放假 升学
hospital    医院 挂号 医生 护士 诊所 卫生院 急诊 看病 睇医生 手术 专家号 挂不上 睇病 病历 看诊
+           检查费 门诊部 社区医院 挂专家 体检 医患 住院部 医疗事故 床位 候诊 排队睇病 医疗纠纷
+           叫号
vaccine     疫苗 打针 接种 打疫苗 预防针 流感针 宫颈癌 防疫 狂犬 疾控
elderly     敬老院 养老院 老人院 老年人 长者 长者卡 老人卡 高龄 老人饭堂 居家养老 护老 八十岁
+           七十岁 六十五岁 老人家 老人 独居 高龄津贴 敬老卡 优待证 老龄 阿公 阿婆 居家 失能
+           护理 照顾
welfare     低保 困难 救助 救济 特困 残疾 残疾人 残联 孤儿 补助金 好穷 残疾证 残疾人证 社会救助
+           临时救助 困难家庭 贫困 单亲 失独 退役 退伍 军人 优抚 烈士 流浪 乞讨 求助 慈善
marriage    结婚 离婚 婚姻 登记结婚 领证 民政局 复婚 民政 结婚证 离婚证 领结婚证 办结婚 婚检
+           补领结婚证 冷静期 收养
funeral     殡仪馆 火葬 墓地 骨灰 丧葬 坟 过咗身 去世
bus         公交 巴士 公交车 飞站 站台 班车 公交站 公交司机 线路 等车 公交线 巴士线 站点 车站
+           改线 取消线路 车次 候车 地铁接驳 线路调整 班次 下车 司机 坐车 搭车
taxi        出租车 的士 打的 网约车 司机 绕路 兜路 兜远 兜了 拒载 滴滴 打表 网约 打车 计程车
+           多收车费 乱兜路 态度恶劣
metro       地铁 轻轨 末班 尾班 收班 收车 首班 羊城通 交通卡 地铁站 安检 地铁票 羊城通卡 换乘
+           车厢
water       停水 来水 自来水 水费 水喉 水压 水表 水黄 供水 返水 水质 水管 爆管 爆水管 水龙头
+           食水 浑浊 水浊 阶梯水价
power       停电 没电 冇电 来电了 电费 供电 跳闸 电表 断电 电线 变压器 充电桩 电压 抢修 用电
+           供电局
gas         煤气 燃气 天然气 气费 煤气费 气罐 燃气公司 煤气公司 装表 气表 燃气表 管道气
pollution   污染 废气 黑臭 河涌 排污 臭气 环保 异味 又黑又臭 河水 很臭 好臭 污染河 治理 水质差
+           扬尘污染 化工 粉尘 噪音污染 黑烟 条涌 河道 鱼塘 空气质量
law_aid     法律 援助 律师 公证
estate      不动产 房产证 过户 房产 产权 契税 房屋买卖 产权证 房本 房屋产权 加名 继承 房契 抵押
+           查册 不动产登记 二手房
land        征地 拆迁 宅基地 补偿款 村委 村里 村度
library     图书馆 博物馆 文化馆 体育馆 公园
complaint_g 工单 办事拖拉 部门 态度 工作人员 建议 表扬 意见 反映的问题 窗口 街道办 居委会 居委
+           村委会 服务态度 推诿 投诉结果 进度 回复 热线 政务
company     公司 企业 工厂 个体户 厂家 厂房 法人 股东 股权 股份 公司名 注册公司 开公司 开间公司
+           小微 办厂 开厂 间厂 奶茶铺 开店 开铺 做生意 开档 经营 分公司 合伙 老板想 创办
+           公司要 我们公司 我哋公司 企业要 厂 门店
biz_licence 营业执照 执照 工商登记 许可证 经营许可 食品经营 卫生许可 卫生证 注销 变更 注册 核准
+           年报 经营异常 个体工商户 工商户 迁移 迁址 换执照 营业期限 经营范围 执照到期 办照
+           登记机关 住所变更 办哪些证 办边啲证 要办证 法人 法定代表人 简易注销
tax         税务 税收 报税 交税 补税 纳税 缴税 退税 减税 税局 税务局 个税 所得税 增值税 税费
+           申报 免税 税款 税率 汇算清缴 完税 税控 个人所得税 社保费税务 滞纳金 税号 查账
invoice     发票 电子发票 专票 开票 领票 领发票 票据 发票额度 发票用完 发票用晒 红冲
subsidy     补贴 资助 扶持 奖励 补助 优惠政策 惠企 贴息 扶持资金 资金 津贴 稳岗返还 返还
+           专项资金 政策兑现 奖补 补贴申请 惠企政策
startup     创业 融资 投资 招商 引资 资金周转 孵化 园区 起厂 建厂 扩建 办公场地 孵化器 风投
+           创业担保 项目落地 用地 开厂
patent      商标 专利 知识产权 版权 品牌 注册商标 专利申请 外观设计 软著
hi_tech     高新 高新技术 专精特新 科技 研发 高企 高新企业 科创 创新 专精 小巨人 技改 数字化
talent      人才 引进 招人 请人 用工
tender      招标 投标 采购 工程款
trade       进出口 外资 外贸 海关 报关
seal        公章 印章 刻章
"""


@functools.cache
def words() -> dict[str, tuple[str, ...]]:
    """Every word of the lexicon with the names of its concepts."""
    found: dict[str, list[str]] = {}
    name = ""
    for line in _CONCEPTS.strip().split("\n"):
        first, *listed = line.split()
        name = name if first == "+" else first
        for word in listed:
            found.setdefault(word.lower(), []).append(name)
    return {word: tuple(names) for word, names in found.items()}


class Finder:
    """Finds every word of a dictionary in a text (Aho & Corasick 1975)."""

    def __init__(self, names: Mapping[str, tuple[str, ...]]) -> None:
        self._automaton = ahocorasick.Automaton()
        for word, listed in names.items():
            self._automaton.add_word(word, (len(word), listed))
        self._automaton.make_automaton()

    def __call__(self, text: str) -> list[str]:
        """The names of all words in the text, overlapping ones too, in the order of the text."""
        found = [(end - length, -length, names) for end, (length, names) in self._hits(text)]
        return [name for _, _, names in sorted(found) for name in names]

    def _hits(self, text: str) -> Iterable[tuple[int, tuple[int, tuple[str, ...]]]]:
        return self._automaton.iter(text) if text else ()


@functools.cache
def _finder() -> Finder:
    return Finder(words())


@functools.lru_cache(maxsize=4096)
def concepts(text: str) -> tuple[str, ...]:
    """The concepts of a normalised text, each once, in the order of their first word.

    >>> concepts("执到个银包点样交畀差人")
    ('lost', 'wallet', 'police')
    """
    return tuple(dict.fromkeys(_finder()(text)))
