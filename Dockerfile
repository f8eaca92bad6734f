# The gateway in a container: no root, nothing written outside /data, which is the one thing to keep.
#
#     docker build -t kos-gateway .
#     docker run --read-only -v kos-data:/data -p 127.0.0.1:8080:8080 -p 127.0.0.1:1883:1883 kos-gateway
#
# docs/container.md says more: a registry of one's own, a radio, a homeserver beside it.

FROM docker.io/library/node:26-slim AS modules
WORKDIR /app
COPY package.json package-lock.json ./
COPY tools/trim.ts tools/
# No install script is needed: what is native comes prebuilt. Both secrets are optional: an .npmrc and a bundle of
# certificates, for those who reach a registry of their own, or the default one through a proxy that opens TLS.
RUN --mount=type=secret,id=npmrc,target=/root/.npmrc \
    --mount=type=secret,id=ca,target=/root/ca.pem \
    if [ -s /root/ca.pem ]; then set -- --cafile=/root/ca.pem; fi \
    && npm ci --omit=dev --ignore-scripts --no-audit --no-fund --cache /tmp/npm "$@" \
    && node tools/trim.ts node_modules \
    && rm -rf /tmp/npm

FROM docker.io/library/node:26-slim
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="kOS gateway" \
      org.opencontainers.image.description="Joins a Reticulum and LXMF mesh with REST, WebSocket, MQTT and Matrix" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}"
WORKDIR /app
COPY --from=modules /app/node_modules ./node_modules
COPY package.json LICENSE ./
COPY bin ./bin
COPY src ./src
COPY replicas ./replicas
# The programs under their own names, for `docker exec`; the data folder, and one for what a homeserver reads too: a fresh
# volume takes its owner from them.
RUN ln -s /app/bin/kosd.js /usr/local/bin/kosd \
    && ln -s /app/bin/kosctl.js /usr/local/bin/kosctl \
    && install -d -o 1000 -g 1000 -m 0700 /data /matrix

# Inside the container everything may be reached; what of it the world sees is said where it is started.
ENV NODE_ENV=production \
    KOS_HUB_DATA=/data \
    KOS_LISTEN_HTTP=0.0.0.0:8080 \
    KOS_LISTEN_REPLICAS=0.0.0.0:8081 \
    KOS_LISTEN_MQTT=0.0.0.0:1883
# By number, so that it can be seen to be nobody's root; it is the image's user `node`.
USER 1000:1000
VOLUME /data
# kos.yaml is read from here where there is one, and what it names counts from here.
WORKDIR /data
EXPOSE 8080 8081 1883
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s --retries=3 \
    CMD ["node", "/app/bin/healthcheck.js"]
ENTRYPOINT ["node", "/app/bin/kosd.js"]
