# syntax=docker/dockerfile:1
# mspipe in a small image: the program and the Vulkan loader. It runs as a normal user.
#
#   docker build -t mspipe .
#   docker run --rm -v "$PWD:/work" --user "$(id -u):$(id -g)" mspipe train --data my_events.csv
#
# With a GPU: `--gpus all` for NVIDIA (its container toolkit brings the driver), `--device /dev/dri --group-add
# render` for AMD and Intel (build with --build-arg DRIVERS=mesa-vulkan-drivers). Without one it runs on the CPU and
# says so. For the CPU alone, half the build: --build-arg FEATURES="--no-default-features --features serve".

FROM rust:1.95-slim-bookworm AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY . .
ARG FEATURES=""
# The image's compiler, whatever rust-toolchain.toml says.
ENV RUSTUP_TOOLCHAIN=$RUST_VERSION
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/source/target \
    cargo build --locked --profile dist -p mspipe $FEATURES \
    && install -m 755 target/dist/mspipe /usr/local/bin/mspipe

FROM debian:bookworm-slim
# `mesa-vulkan-drivers` for AMD and Intel (and llvmpipe, a GPU in software); NVIDIA's driver comes from the host.
ARG DRIVERS=""
RUN apt-get update \
    && apt-get install -y --no-install-recommends libvulkan1 $DRIVERS \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 1000 --create-home mspipe \
    # For any user that --user names.
    && install -d -m 1777 /work /cache
COPY --from=build /usr/local/bin/mspipe /usr/local/bin/mspipe
COPY LICENSE-APACHE LICENSE-MIT docs/licences.md /usr/share/doc/mspipe/
# What NVIDIA's container toolkit is to bring: compute and graphics, which is where Vulkan is.
ENV NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,graphics,utility \
    MSPIPE_CACHE_DIR=/cache
USER mspipe
WORKDIR /work
VOLUME ["/cache"]
ENTRYPOINT ["mspipe"]
CMD ["--help"]
