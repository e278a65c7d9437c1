import fc from 'fast-check';
import { connect } from 'node:net';
import { describe, expect, it, onTestFinished } from 'vitest';
import { startTestApp } from '../support/app.ts';
import { filledHub, GOLANG } from '../support/filled-hub.ts';
import { fuzz, FUZZ_TIMEOUT_MS, mutated, textNear } from '../support/fuzz.ts';
import { withDeadline } from '../support/wait.ts';

const HEX = 'a1'.repeat(32);
const REQUESTS = [
  'GET /v2/ HTTP/1.1\r\nHost: mirror\r\n\r\n',
  'HEAD /v2/library/golang/manifests/latest HTTP/1.1\r\nHost: mirror\r\nAccept: application/vnd.oci.image.index.v1+json\r\n\r\n',
  'GET /v2/library/golang/manifests/latest?platform=linux/arm64&ns=docker.io HTTP/1.1\r\nHost: mirror\r\nUser-Agent: docker/29 os/linux arch/arm64\r\n\r\n',
  `GET /v2/library/golang/blobs/sha256:${HEX} HTTP/1.1\r\nHost: mirror\r\nRange: bytes=0-99,200-\r\nIf-Range: "x"\r\n\r\n`,
  'GET /v2/library/golang/tags/list?n=10&last=a HTTP/1.1\r\nHost: mirror\r\nAuthorization: Basic eDp5\r\n\r\n',
  `GET /v2/library/golang/referrers/sha256:${HEX}?artifactType=a/b HTTP/1.1\r\nHost: mirror\r\n\r\n`,
  'POST /v2/library/golang/blobs/uploads/ HTTP/1.1\r\nHost: mirror\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n',
  'PUT /v2/a/manifests/b HTTP/1.1\r\nHost: mirror\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\nhello',
  'GET http://registry-1.docker.io/v2/ HTTP/1.1\r\nHost: mirror\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n',
  'CONNECT 169.254.169.254:80 HTTP/1.1\r\nHost: mirror\r\n\r\n',
  'GET /v2/_catalog HTTP/1.0\r\n\r\n',
];
const TARGET_WORDS = [
  '/v2/',
  'library/golang',
  'ghcr.io/',
  '169.254.169.254/',
  '/manifests/',
  '/blobs/',
  'latest',
  `sha256:${HEX}`,
  '?ns=',
  'localhost',
  '&',
  'platform=',
  'linux/arm64',
  '..',
  '%2f',
  '%00',
  '/tags/list',
  '?n=',
  '-1',
];

/** Sends the bytes and nothing more; resolves to all that comes back until the connection ends. */
function conversation(origin: string, bytes: string): Promise<string> {
  const { hostname, port } = new URL(origin);
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    const socket = connect({ host: hostname, port: Number(port) });
    socket.on('data', (chunk: Buffer) => chunks.push(chunk));
    socket.on('error', () => undefined);
    socket.on('close', () => resolve(Buffer.concat(chunks).toString('latin1')));
    socket.end(bytes, 'latin1');
  });
}

describe('a client that sends anything at all', () => {
  it(
    'is answered in HTTP or not at all, dials nobody and breaks nothing',
    { timeout: FUZZ_TIMEOUT_MS },
    async () => {
      const hub = await filledHub();
      onTestFinished(() => expect(hub.violations).toEqual([]));
      const app = await startTestApp({ hub, flags: { defaultPlatform: 'linux/amd64' } });
      const damaged = fc.constantFrom(...REQUESTS).chain(mutated);
      const aimed = fc
        .tuple(fc.constantFrom('GET', 'HEAD', 'POST'), textNear(TARGET_WORDS))
        .map(([method, target]) => `${method} ${target.slice(0, 20_000)} HTTP/1.1\r\nHost: m\r\n\r\n`);
      await fc.assert(
        fc.asyncProperty(
          fc.array(fc.oneof(damaged, aimed), { minLength: 8, maxLength: 16 }),
          async (cases) => {
            const answers = await withDeadline(
              Promise.all(cases.map((bytes) => conversation(app.url, bytes))),
              `the ends of ${cases.length} connections: ${JSON.stringify(cases)}`,
            );
            for (const answer of answers) {
              if (answer === '') continue;
              expect(answer).toMatch(/^HTTP\/1\.1 (?:100|2\d\d|206|304|4\d\d|503) /);
            }
          },
        ),
        fuzz(1000),
      );
      expect(app.log.filter(({ msg }) => msg === 'internal error')).toEqual([]);
      // Whatever was asked of upstream is in the grammar.
      for (const { path } of hub.requests) expect(path).not.toMatch(/\.\.|%|\/\/|169\.254/);
      const after = await app.get(`/v2/${GOLANG.repository}/manifests/latest`);
      expect([after.status, after.complete]).toEqual([200, true]);
    },
  );
});
