import { once } from 'node:events';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import fc, { type Arbitrary } from 'fast-check';
import { describe, expect, it, onTestFinished } from 'vitest';
import { digestOf } from '../../src/oci/digest.ts';
import { OCI_INDEX, OCI_MANIFEST } from '../../src/oci/media-types.ts';
import { createUpstream } from '../../src/upstream/registry/client.ts';
import { BodyBrokenError, type Outcome, type Upstream } from '../../src/upstream/upstream.ts';
import { fuzz, FUZZ_TIMEOUT_MS, mutated } from '../support/fuzz.ts';
import { tellNobody } from '../support/told.ts';
import { withDeadline } from '../support/wait.ts';

const BLOB = Buffer.from('the bytes of a blob, some fifty of them, no more.');
const DIGEST = digestOf(BLOB);
const REPOSITORY = 'library/golang';
const ANYBODY = { identity: 'anonymous' } as const;
const INDEX = JSON.stringify({ schemaVersion: 2, mediaType: OCI_INDEX, manifests: [] });
const MANIFEST = JSON.stringify({
  schemaVersion: 2,
  mediaType: OCI_MANIFEST,
  config: { mediaType: 'application/vnd.oci.image.config.v1+json', digest: DIGEST, size: BLOB.length },
  layers: [],
});

function answer(head: readonly string[], body = ''): string {
  return ['HTTP/1.1 200 OK', ...head, `Content-Length: ${body.length}`, '', body].join('\r\n');
}

/** What a registry may answer; `ORIGIN` is the server itself. */
const ANSWERS = [
  answer(
    [
      `Content-Type: ${OCI_MANIFEST}`,
      `Docker-Content-Digest: ${digestOf(Buffer.from(MANIFEST))}`,
      'ratelimit-limit: 100;w=21600',
      'ratelimit-remaining: 7;w=21600',
    ],
    MANIFEST,
  ),
  answer([`Content-Type: ${OCI_INDEX}`, 'Link: </v2/library/golang/referrers/x?page=2>; rel="next"'], INDEX),
  answer(['Content-Type: application/octet-stream', 'Accept-Ranges: bytes'], BLOB.toString()),
  answer(
    ['Content-Type: application/json', 'Link: </v2/library/golang/tags/list?n=2&last=b>; rel="next"'],
    '{"name":"library/golang","tags":["a","b"]}',
  ),
  answer(
    ['Content-Type: application/json'],
    '{"token":"abc","expires_in":300,"issued_at":"2026-01-01T00:00:00Z"}',
  ),
  answer(['Content-Type: text/html'], '<html>Sign in</html>'),
  `HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 10-19/49\r\nContent-Length: 10\r\n\r\n${BLOB.toString('latin1', 10, 20)}`,
  'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Encoding: gzip\r\n\r\n5\r\nhello\r\n0\r\n\r\n',
  'HTTP/1.1 307 Temporary Redirect\r\nLocation: ORIGIN/elsewhere\r\nContent-Length: 0\r\n\r\n',
  'HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer realm="ORIGIN/token",service="s",scope="repository:library/golang:pull"\r\nContent-Length: 0\r\n\r\n',
  'HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\nContent-Length: 52\r\n\r\n{"errors":[{"code":"TOOMANYREQUESTS","message":"x"}]}',
  'HTTP/1.1 404 Not Found\r\nCache-Control: no-store\r\nContent-Length: 0\r\n\r\n',
  'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\nHTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n',
];

/** A server that answers the nth request for `/<number>/…` with the nth of those answers, and ends the connection. */
async function hostileServer() {
  const scripts = new Map<string, { readonly answers: readonly string[]; asked: number }>();
  const open = new Set<Socket>();
  const server = createServer((socket) => {
    open.add(socket);
    socket.on('error', () => undefined);
    socket.on('close', () => open.delete(socket));
    socket.once('data', (request: Buffer) => {
      const [, name = ''] = /^\w+ \/(\d+)\//.exec(request.toString('latin1')) ?? [];
      const script = scripts.get(name);
      const bytes = script?.answers[script.asked++ % script.answers.length] ?? '';
      socket.end(bytes.replaceAll('ORIGIN', `${url}/${name}`), 'latin1');
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  onTestFinished(() => {
    for (const socket of open) socket.destroy();
    server.close();
  });
  return {
    /** Where these answers are given, and how often one was. */
    give(answers: readonly string[]) {
      const script = { answers, asked: 0 };
      const name = String(scripts.size);
      scripts.set(name, script);
      return { url: `${url}/${name}`, asked: () => script.asked };
    },
  };
}

function clientOf(url: string): Upstream {
  return createUpstream({
    host: 'docker.io',
    url,
    connectTimeoutMs: 1000,
    headersTimeoutMs: 600,
    idleTimeoutMs: 600,
    userAgent: 'pierhead/0.0.0-test',
    pullLimit: { lowShare: 0.2, reserve: 10 },
    tell: tellNobody,
  });
}

const tag = { kind: 'tag', tag: 'latest' } as const;
const byDigest = { kind: 'digest', digest: DIGEST } as const;

/** Reads a blob to the end that it comes to. */
async function readBlob(upstream: Upstream): Promise<Outcome<unknown>> {
  const outcome = await upstream.getBlob(REPOSITORY, DIGEST, { ...ANYBODY, offset: 10, end: 20 });
  if (outcome.kind !== 'ok') return outcome;
  try {
    for await (const chunk of outcome.value.body) expect(Buffer.isBuffer(chunk)).toBe(true);
  } catch (error) {
    expect(error).toBeInstanceOf(BodyBrokenError);
  } finally {
    outcome.value.close();
  }
  return outcome;
}

const QUESTIONS: Readonly<Record<string, (upstream: Upstream) => Promise<Outcome<unknown>>>> = {
  headManifest: (upstream) => upstream.headManifest(REPOSITORY, tag, ANYBODY),
  getManifest: (upstream) => upstream.getManifest(REPOSITORY, byDigest, ANYBODY),
  headBlob: (upstream) => upstream.headBlob(REPOSITORY, DIGEST, ANYBODY),
  getBlob: readBlob,
  listTags: (upstream) => upstream.listTags(REPOSITORY, {}, ANYBODY),
  listReferrers: (upstream) => upstream.listReferrers(REPOSITORY, DIGEST, ANYBODY),
};

interface Case {
  readonly answers: readonly string[];
  readonly question: string;
}

const hostile: Arbitrary<string> = fc
  .constantFrom(...ANSWERS)
  .chain((text) =>
    fc.oneof({ weight: 1, arbitrary: fc.constant(text) }, { weight: 4, arbitrary: mutated(text) }),
  );

describe('an upstream that answers anything at all', () => {
  it(
    'comes to one of the agreed outcomes, in time and after few requests',
    { timeout: FUZZ_TIMEOUT_MS },
    async () => {
      const server = await hostileServer();
      async function expectAgreed({ answers, question }: Case): Promise<void> {
        const { url, asked } = server.give(answers);
        const upstream = clientOf(url);
        const what = `${question}: ${JSON.stringify(answers)}`;
        try {
          const outcome = QUESTIONS[question]?.(upstream) ?? Promise.reject(new Error('no such question'));
          const { kind } = await withDeadline(outcome, what);
          expect(['ok', 'not-found', 'refused', 'limited', 'unavailable'], what).toContain(kind);
        } finally {
          await withDeadline(upstream.close(), `the client to close after ${what}`);
        }
        expect(asked(), what).toBeLessThanOrEqual(60);
      }
      const cases = fc.array(
        fc.record({
          answers: fc.array(hostile, { minLength: 1, maxLength: 4 }),
          question: fc.constantFrom(...Object.keys(QUESTIONS)),
        }),
        { minLength: 50, maxLength: 100 },
      );
      await fc.assert(
        fc.asyncProperty(cases, async (batch) => {
          await Promise.all(batch.map(expectAgreed));
        }),
        { ...fuzz(20), endOnFailure: true },
      );
    },
  );
});
