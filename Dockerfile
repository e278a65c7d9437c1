# Node 26 is the newest LTS line (since October 2026); Debian 13 is the default of its images and outlives it.
ARG NODE_IMAGE=node:26-trixie-slim

FROM ${NODE_IMAGE} AS build
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
# No dependency needs its install script: what is native comes prebuilt.
RUN npm ci --ignore-scripts
COPY tsconfig.json ./
COPY src src
RUN npm run build && rm -f dist/.tsbuildinfo && \
    npm prune --omit=dev --ignore-scripts && find node_modules -type d -empty -delete

FROM ${NODE_IMAGE}
ENV NODE_ENV=production \
    PIERHEAD_DATA_DIR=/data
WORKDIR /app
COPY package.json LICENSE ./
COPY config config
COPY --from=build /app/node_modules node_modules
COPY --from=build /app/dist dist
# By number, so that Kubernetes can tell that it is not root (runAsNonRoot).
RUN install -d -m 0700 -o 10001 -g 10001 /data
USER 10001:10001
VOLUME /data
EXPOSE 5000 5001
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s CMD ["node", "dist/main.js", "health"]
ENTRYPOINT ["node", "dist/main.js"]
CMD ["serve"]
