"""Audio in and out of Kapok: codecs, resampling, files. PCM is s16le, one channel, everywhere."""
