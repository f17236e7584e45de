# The binaries are static and come from `make build`; nothing is compiled here,
# so the image needs no base image and no network.
FROM scratch
COPY bin/broker bin/producer bin/consumer /
# A new named volume takes its owner from this directory.
COPY --chown=65532:65532 bin/data /data
USER 65532:65532
VOLUME /data
STOPSIGNAL SIGTERM
ENTRYPOINT ["/broker"]
CMD ["serve"]
