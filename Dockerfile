# Every step is a plain copy or command: test/deploy/deploy.test.ts carries them out in an
# empty folder, without Docker, and runs the daemon that results.

FROM node:26-slim AS build
WORKDIR /holdfast
COPY package.json package-lock.json ./
RUN npm ci
COPY tsconfig.json ./
COPY bin ./bin
COPY protocol ./protocol
COPY src ./src
RUN npm run build

FROM node:26-slim AS dependencies
WORKDIR /holdfast
COPY package.json package-lock.json ./
RUN npm ci --omit=dev

FROM node:26-slim
ENV NODE_ENV=production
WORKDIR /holdfast
COPY --from=dependencies /holdfast/node_modules ./node_modules
COPY --from=build /holdfast/dist ./dist
COPY package.json LICENSE ./
# Writable by whichever user the container is given with --user.
RUN mkdir -m 1777 data
VOLUME /holdfast/data
USER node
# Two ports on the container's own loopback; docs/operations.md tells how to reach them.
EXPOSE 11210 8091
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.HOLDFAST_HTTP_PORT ?? 8091}/healthz`).then(answer => process.exit(answer.ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["node", "dist/bin/holdfastd.js"]
