# A worker, and any other command of pgacme: docker run pgacme migrate. See docs/operations.md, Containers.
FROM node:22-bookworm-slim AS build
WORKDIR /src
COPY package.json package-lock.json ./
# No package that a production installation has needs a script.
RUN npm ci --ignore-scripts --no-audit --no-fund
COPY tsconfig.json tsconfig.build.json ./
COPY src src
RUN npm run build && npm prune --omit=dev --ignore-scripts --no-audit --no-fund

FROM node:22-bookworm-slim
ENV NODE_ENV=production
WORKDIR /opt/pgacme
COPY --from=build /src/node_modules node_modules
COPY --from=build /src/package.json ./
COPY --from=build /src/dist dist
COPY sql sql
COPY docker/healthy.mjs docker/demo.mjs docker/
# Volumes take over the owner that these folders have here.
RUN chmod 755 dist/cli.js \
  && ln -s /opt/pgacme/dist/cli.js /usr/local/bin/pgacme \
  && install -d -o node -g node /var/lib/pgacme/key /var/lib/pgacme/pebble
USER node
HEALTHCHECK --interval=10s --timeout=10s --start-period=30s CMD ["node", "/opt/pgacme/docker/healthy.mjs"]
ENTRYPOINT ["pgacme"]
CMD ["worker"]
