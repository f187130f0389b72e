# The gateway as an unprivileged user on a read-only root; its state is in /data.
# Node 24.18.0. Change the digest together with the tag when you update it.
ARG NODE_IMAGE=node:24-bookworm-slim@sha256:6f7b03f7c2c8e2e784dcf9295400527b9b1270fd37b7e9a7285cf83b6951452d

FROM ${NODE_IMAGE} AS build
WORKDIR /build
COPY package.json package-lock.json ./
RUN npm ci --ignore-scripts --no-audit --no-fund
COPY . .
RUN node scripts/build.mjs && npm prune --omit=dev --omit=optional --ignore-scripts --no-audit --no-fund

# What is not installed must not be asked for: npm sbom would fail, and with --omit it leaves out what tools need as well.
RUN node -e "fs.copyFileSync('package.json', 'whole.json')" \
  && npm pkg delete devDependencies optionalDependencies \
  && npm sbom --sbom-format=cyclonedx > sbom.cdx.json \
  && node -e "fs.renameSync('whole.json', 'package.json')"
RUN node -e "fs.mkdirSync('/data', { mode: 0o700 }); fs.chownSync('/data', 10001, 10001)"

FROM ${NODE_IMAGE}
WORKDIR /app
COPY --from=build /build/package.json /build/postern.schema.json /build/LICENSE /build/sbom.cdx.json ./
COPY --from=build /build/bin ./bin
COPY --from=build /build/node_modules ./node_modules
COPY --from=build /build/dist ./dist
COPY --from=build --chown=10001:10001 /data /data
ENV NODE_ENV=production POSTERN_STATE=/data
USER 10001:10001
VOLUME /data
EXPOSE 8080
# Exec form: signals reach the gateway itself.
ENTRYPOINT ["node", "--max-semi-space-size=16", "/app/bin/postern.mjs"]
CMD ["serve"]
HEALTHCHECK --start-period=10s --interval=10s --timeout=5s CMD ["node", "/app/bin/postern.mjs", "healthcheck"]
