# What is installed: libcm (one header), cmc, and the files by which others find them.
