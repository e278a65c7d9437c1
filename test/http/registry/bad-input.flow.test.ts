import { connect } from 'node:net';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { once } from 'node:events';
import { describe, expect, it } from 'vitest';
import { startTestApp } from '../../support/app.ts';
import { filledHub } from '../../support/filled-hub.ts';
import { withDeadline } from '../../support/wait.ts';

const HEX = 'a'.repeat(64);

/** Request targets that no client ought to send, with the status that each deserves. */
const TARGETS: readonly (readonly [target: string, status: number])[] = [
  ['/', 404],
  ['/v1/', 404],
  ['/v2', 200],
  ['//v2/', 404],
  ['/v2//manifests/latest', 404],
  ['/v2/UPPER/manifests/latest', 404],
  // Lower case makes a k of a Kelvin sign, which no header can hold.
  ['/v2/library/golang/manifests/latest?ns=doc%E2%84%AAer.io', 404],
  ['/v2/doc%E2%84%AAer.io/library/golang/tags/list?n=1', 404],
  ['/v2/a..b/manifests/latest', 404],
  ['/v2/../../etc/passwd', 404],
  ['/v2/library/../secret/manifests/latest', 404],
  ['/v2/library/golang/manifests/..', 404],
  ['/v2/library/golang/manifests/%2e%2e%2f%2e%2e%2fetc%2fpasswd', 404],
  ['/v2/library%2fgolang/manifests/latest', 404],
  ['/v2/%2e%2e/%2e%2e/manifests/latest', 404],
  ['/v2/library/golang%00/manifests/latest', 404],
  ['/v2/library/golang/manifests/%', 404],
  ['/v2/library/golang/manifests/%ff', 404],
  [`/v2/${'a'.repeat(4096)}/manifests/latest`, 404],
  [`/v2/library/golang/manifests/${'t'.repeat(129)}`, 404],
  ['/v2/library/golang/manifests/.INVALID_MANIFEST_NAME', 404],
  ['/v2/library/golang/manifests/sha256:totallywrong', 400],
  ['/v2/library/golang/manifests/sha256:baddigeststring', 400],
  [`/v2/library/golang/manifests/sha256:${HEX.toUpperCase()}`, 400],
  [`/v2/library/golang/manifests/md5:${HEX}`, 400],
  ['/v2/library/golang/blobs/latest', 400],
  ['/v2/library/golang/blobs/sha256:', 400],
  [`/v2/library/golang/blobs/sha256:${HEX}0`, 400],
  [`/v2/library/golang/blobs/sha256:${HEX}%2f..%2f..`, 404],
  ['/v2/library/golang/blobs/uploads/', 404],
  ['/v2/library/golang/referrers/nonsense', 400],
  ['/v2/library/golang/tags/list?n=-1', 400],
  ['/v2/library/golang/tags/list?n=abc', 400],
  ['/v2/_catalog?n=1e9', 400],
  ['/v2/a/b/c', 404],
  ['/v2/tags/list', 404],
  ['/healthz/../v2/', 404],
];

describe('a request for', () => {
  it('nonsense gets the agreed status with an OCI error, and nothing is dialled or opened', async () => {
    const hub = await filledHub();
    const app = await startTestApp({ hub });
    for (const [target, status] of TARGETS) {
      for (const method of ['GET', 'HEAD']) {
        const answer = await app.get(target, { method });
        expect(answer.status, `${method} ${target.slice(0, 80)}`).toBe(status);
        if (method === 'GET' && status !== 200) {
          expect(answer.header('content-type'), target).toBe('application/json');
          const { errors } = JSON.parse(answer.body.toString()) as {
            errors: { code: string; message: string }[];
          };
          expect(errors[0]?.code, target).toMatch(/^[A-Z_]+$/);
          expect(answer.header('cache-status')).toMatch(/^pierhead/);
        }
      }
    }
    expect(hub.requests).toEqual([]);
    expect(await readdir(join(app.dataDir, 'parts'))).toEqual([]);
    expect((await app.get('/healthz')).status).toBe(200);
  });

  it('a repository that holds route words is taken for what it is', async () => {
    const hub = await filledHub();
    const app = await startTestApp({ hub });
    expect((await app.get('/v2/a/manifests/b/manifests/latest')).status).toBe(404);
    expect(hub.requests.at(-1)?.repository ?? hub.requests.at(-1)?.path).toContain('a/manifests/b');
  });

  it('a write is a 405 that says what is allowed', async () => {
    const hub = await filledHub();
    const app = await startTestApp({ hub });
    for (const [method, target] of [
      ['PUT', '/v2/library/golang/manifests/latest'],
      ['POST', '/v2/library/golang/blobs/uploads/'],
      ['PATCH', '/v2/library/golang/blobs/uploads/1'],
      ['DELETE', `/v2/library/golang/manifests/sha256:${HEX}`],
      ['OPTIONS', '/v2/'],
    ] as const) {
      const answer = await app.get(target, { method, body: method === 'PUT' ? 'x'.repeat(100_000) : '' });
      expect(answer.status).toBe(405);
      expect(answer.header('allow')).toBe('GET, HEAD');
      expect(JSON.parse(answer.body.toString())).toMatchObject({ errors: [{ code: 'UNSUPPORTED' }] });
    }
    expect(hub.requests).toEqual([]);
  });

  it('a manifest with a body, as the conformance suite sends it, is answered', async () => {
    const hub = await filledHub();
    const app = await startTestApp({ hub });
    const answer = await app.get('/v2/library/golang/manifests/sha256:totallywrong', { body: 'a body' });
    expect(answer.status).toBe(400);
    expect(JSON.parse(answer.body.toString())).toMatchObject({ errors: [{ code: 'DIGEST_INVALID' }] });
  });
});

describe('a request with', () => {
  it('headers of 100 kB gets 431 with an OCI error', async () => {
    const hub = await filledHub();
    const app = await startTestApp({ hub });
    const answer = await app.get('/v2/', { headers: [['X-Long', 'x'.repeat(100_000)]] });
    expect(answer.status).toBe(431);
    expect(JSON.parse(answer.body.toString())).toMatchObject({ errors: [{ code: 'UNSUPPORTED' }] });
    expect((await app.get('/healthz')).status).toBe(200);
  });

  it('strange Range, Accept, If-None-Match and User-Agent headers is served', async () => {
    const hub = await filledHub();
    const app = await startTestApp({ hub });
    for (const value of [
      '',
      ',',
      ';;;',
      '"',
      'bytes=',
      'bytes=9999999999999999999999-',
      '\xff\xfe',
      'a'.repeat(4000),
    ]) {
      const headers = [
        ['Range', value],
        ['If-None-Match', value],
        ['User-Agent', value],
      ] as const;
      const answer = await app.get('/v2/library/plain/manifests/latest', { headers });
      expect(answer.status, JSON.stringify(value.slice(0, 30))).toBe(200);
    }
  });

  it('no HTTP in it gets 400 with an OCI error', async () => {
    const hub = await filledHub();
    const app = await startTestApp({ hub });
    for (const bytes of [
      'NONSENSE\r\n\r\n',
      'GET /v2/ HTTP/9.9\r\n\r\n',
      '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03',
      'GET /v2/\0 HTTP/1.1\r\nHost: x\r\n\r\n',
      'GET /v2/ HTTP/1.1\r\n\r\n',
    ]) {
      const { hostname, port } = new URL(app.url);
      const socket = connect(Number(port), hostname);
      const chunks: Buffer[] = [];
      socket.on('data', (chunk: Buffer) => chunks.push(chunk));
      socket.end(bytes);
      await withDeadline(once(socket, 'close'), `the end of ${JSON.stringify(bytes)}`);
      const text = Buffer.concat(chunks).toString();
      expect(text, JSON.stringify(bytes)).toMatch(/^HTTP\/1\.1 400 /);
      expect(text).toContain('"errors"');
    }
    expect((await app.get('/healthz')).status).toBe(200);
  });
});

describe('a client', () => {
  it('from a network that is not allowed gets 403, and nothing is dialled', async () => {
    const hub = await filledHub();
    const app = await startTestApp({ hub, flags: { allowNetworks: '10.0.0.0/8' } });
    for (const target of ['/v2/', '/v2/library/golang/manifests/latest', '/v2/_catalog']) {
      const answer = await app.get(target);
      expect(answer.status).toBe(403);
      expect(JSON.parse(answer.body.toString())).toMatchObject({ errors: [{ code: 'DENIED' }] });
    }
    expect(hub.requests).toEqual([]);
  });
});
