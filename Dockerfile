# The router in a small image: `docker build -t pointsman .`; how to run it says docs/operations.md.

FROM rust:1.95-bookworm AS build
# --build-arg PROFILE=release builds in half the time. For the last quarter of speed build by benches/pgo (it runs loads,
# so not in here) and copy the program in.
ARG PROFILE=dist
WORKDIR /src
COPY . .
RUN cargo build --locked --package router --profile "$PROFILE" \
 && cp "target/$PROFILE/pointsman" /usr/local/bin/pointsman

FROM debian:bookworm-slim
# The system's authorities, for registries and instances that show certificates.
RUN apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --uid 10001 --home-dir /var/lib/pointsman --create-home --shell /usr/sbin/nologin pointsman
COPY --from=build /usr/local/bin/pointsman /usr/local/bin/pointsman
# What it remembers: the last known good, and the embedded registry.
WORKDIR /var/lib/pointsman
USER 10001
VOLUME /var/lib/pointsman
# Clients. The admin listener and the embedded registry stay on loopback unless the file says otherwise.
EXPOSE 8443
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s CMD ["pointsman", "ready"]
ENTRYPOINT ["pointsman"]
# A folder with a router.yml: mounted as a whole, changes of the file in it are followed.
CMD ["run", "--config", "/etc/pointsman"]
