import { once } from 'node:events';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { describe, expect, onTestFinished, test } from 'vitest';
import { generatedContent } from '../../fake/content.ts';
import type { FaultAction } from '../../fake/faults.ts';
import { GOLANG } from '../../support/filled-hub.ts';
import { secretsOf } from '../../support/secrets.ts';
import { withDeadline } from '../../support/wait.ts';
import {
  ANYBODY,
  CAROL,
  causeOf,
  CONFIGURED,
  hubAndUpstream,
  readBody,
  valueOf,
  watchedUpstream,
} from '../../support/upstream-client.ts';

const { repository } = GOLANG;
const LATEST = { kind: 'tag', tag: 'latest' } as const;
const MANIFEST = { kind: 'manifest' } as const;

/** A stand-in whose manifests fail in this way, once there is a token. */
async function failing(fault: FaultAction, headersTimeoutMs = 8000) {
  const parts = await hubAndUpstream({}, { headersTimeoutMs });
  const { hub, upstream } = parts;
  const ask = () => upstream.getManifest(repository, LATEST, ANYBODY);
  valueOf(await ask());
  hub.reset();
  const set = hub.fault({ match: MANIFEST, do: fault });
  return { ...parts, ask, fault: set };
}

describe('an upstream', () => {
  test('that is switched off refuses connections, and is not asked twice', async () => {
    const { hub, ask } = await failing({});
    await hub.stop();
    expect(causeOf(await ask())).toBe(`unreachable: connection refused by ${hub.host} (${hub.host})`);
    await hub.start();
    expect((await ask()).kind).toBe('ok');
  });

  test('whose name does not exist', async () => {
    const { upstream, events } = watchedUpstream('http://registry.invalid:5000');
    const outcome = await upstream.getManifest(repository, LATEST, ANYBODY);
    expect(causeOf(outcome)).toMatch(/^unreachable: cannot resolve the name registry\.invalid \(E\w+\)$/);
    expect(events.map(({ outcome: label }) => label)).toEqual(['unreachable']);
  });

  test('that does not speak TLS', async () => {
    const { hub } = await hubAndUpstream();
    const { upstream } = watchedUpstream(`https://${hub.host}`);
    const outcome = await upstream.getManifest(repository, LATEST, ANYBODY);
    expect(causeOf(outcome)).toMatch(new RegExp(`^unreachable: no TLS connection to ${hub.host}: `));
  });

  test('that never answers is given up when its time is over', async () => {
    const { hub, ask } = await failing({ hang: true }, 3000);
    expect(causeOf(await ask())).toBe(`timeout: ${hub.host} did not answer within 3 s`);
    expect(hub.count(MANIFEST)).toBe(1);
    await hub.waitFor(({ closed }) => closed, 'the connection to end');
  });

  test('has one time limit for all of the way to an answer', async () => {
    const { hub, upstream } = await hubAndUpstream({}, { headersTimeoutMs: 6000 });
    hub.fault({ match: { kind: 'token' }, do: { delayHeadersMs: 4000 } });
    hub.fault({ match: MANIFEST, after: 1, do: { delayHeadersMs: 4000 } });
    const outcome = await upstream.headManifest(repository, LATEST, ANYBODY);
    expect(causeOf(outcome)).toBe(`timeout: ${hub.host} did not answer within 6 s`);
  });

  test('that stops in the middle of a manifest is given up too', async () => {
    const { hub, ask } = await failing({ stallAfterBytes: 100 }, 3000);
    expect(causeOf(await ask())).toBe(`timeout: ${hub.host} did not answer within 3 s`);
    await hub.waitFor(({ closed }) => closed, 'the connection to end');
  });

  test.each([
    ['nothing of HTTP', 'SSH-2.0-OpenSSH_9.2\r\n'],
    ['two lengths', 'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab'],
    [
      'a length and chunks',
      'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    ],
    ['no end of headers', `HTTP/1.1 200 OK\r\n${'X: y\r\n'.repeat(20_000)}`],
    ['a header of 100 kB', `HTTP/1.1 200 OK\r\nX: ${'y'.repeat(100_000)}\r\n\r\n`],
  ])('that sends %s is no registry', async (_what, raw) => {
    const { hub, ask } = await failing({ raw });
    expect(causeOf(await ask())).toMatch(
      new RegExp(
        `^not-a-registry: ${hub.host} sent (?:something that is not HTTP|more than 16 KiB of headers)$`,
      ),
    );
    expect(hub.count(MANIFEST)).toBe(1);
  });

  test.each([
    [500, 'server-error'],
    [501, 'server-error'],
    [599, 'server-error'],
    [400, 'not-a-registry'],
    [418, 'not-a-registry'],
    [204, 'not-a-registry'],
    [304, 'not-a-registry'],
  ])('that answers %i is asked once', async (code, cause) => {
    const { hub, ask } = await failing({ status: { code } });
    expect(causeOf(await ask())).toBe(`${cause}: ${hub.host} answered ${code}`);
    expect(hub.count(MANIFEST)).toBe(1);
  });

  test.each([502, 503, 504])('that answers %i is asked three times', async (code) => {
    const { hub, ask } = await failing({ status: { code, body: 'x'.repeat(1000) } });
    expect(causeOf(await ask())).toBe(`server-error: ${hub.host} answered ${code}`);
    expect(hub.count(MANIFEST)).toBe(3);
  });

  test('that answers 503 and then recovers is not noticed', async () => {
    const { hub, upstream } = await hubAndUpstream();
    hub.fault({ times: 2, do: { status: { code: 503 } } });
    hub.fault({ match: { kind: 'token' }, times: 1, do: { status: { code: 502 } } });
    expect((await upstream.getManifest(repository, LATEST, ANYBODY)).kind).toBe('ok');
  });

  test('that asks for more time than there is gets no second try', async () => {
    const { hub, ask } = await failing({ status: { code: 503, headers: { 'retry-after': '60' } } });
    expect(causeOf(await ask())).toBe(`server-error: ${hub.host} answered 503`);
    expect(hub.count(MANIFEST)).toBe(1);
  });

  test.each(['fin', 'rst'] as const)(
    'that hangs up by %s without an answer is asked three times',
    async (how) => {
      const { hub, ask } = await failing({ hangUp: how });
      expect(causeOf(await ask())).toBe(`unreachable: ${hub.host} closed the connection without an answer`);
      expect(hub.count(MANIFEST)).toBe(3);
    },
  );

  test('that has ended an idle connection is not noticed', async () => {
    const { hub, upstream } = await hubAndUpstream();
    valueOf(await upstream.getManifest(repository, LATEST, ANYBODY));
    await hub.stop();
    await hub.start();
    expect((await upstream.getManifest(repository, LATEST, ANYBODY)).kind).toBe('ok');
  });

  test('that takes connections and says nothing of TLS is given up by the time of a connection', async () => {
    const sockets: Socket[] = [];
    const server = createServer((socket) => void sockets.push(socket.on('error', () => socket.destroy())));
    onTestFinished(() => {
      server.close();
      for (const socket of sockets) socket.destroy();
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const { upstream } = watchedUpstream(`https://127.0.0.1:${port}`, { connectTimeoutMs: 1000 });
    const asking = upstream.getManifest(repository, LATEST, ANYBODY);
    expect(causeOf(await withDeadline(asking, 'the connection to be given up'))).toBe(
      `unreachable: no connection to 127.0.0.1:${port} within 1 s`,
    );
  });
});

describe('one who asks', () => {
  test('may go away at any time, and gets the reason back', async () => {
    const { hub, upstream, events } = await hubAndUpstream();
    const reason = new Error('the client has gone');
    expect(() => AbortSignal.abort(reason).throwIfAborted()).toThrow(reason);
    const signal = AbortSignal.abort(reason);
    await expect(upstream.getManifest(repository, LATEST, { ...ANYBODY, signal })).rejects.toBe(reason);
    expect(hub.requests).toEqual([]);

    const fault = hub.fault({ match: MANIFEST, do: { holdHeaders: true } });
    const abort = new AbortController();
    const asking = upstream.getManifest(repository, LATEST, { ...ANYBODY, signal: abort.signal });
    await fault.reached;
    abort.abort(reason);
    await expect(asking).rejects.toBe(reason);
    await hub.waitFor(({ closed }) => closed, 'the connection to end');
    expect(events.map(({ outcome }) => outcome)).toEqual(['aborted']);
  });

  test('may go away during the pause between two tries', async () => {
    const { hub, upstream } = await hubAndUpstream();
    hub.fault({ do: { status: { code: 503 } } });
    const abort = new AbortController();
    const asking = upstream.getManifest(repository, LATEST, { ...ANYBODY, signal: abort.signal });
    await hub.waitFor(({ closed }) => closed, 'the first try to fail');
    abort.abort();
    await expect(asking).rejects.toBe(abort.signal.reason);
  });

  test('keeps the body of a blob when the signal comes after its head', async () => {
    const { hub, upstream } = await hubAndUpstream();
    const blob = generatedContent({ size: 1_000_000, seed: 3 });
    hub.addBlob(repository, blob);
    const abort = new AbortController();
    const options = { ...ANYBODY, signal: abort.signal, offset: 0 };
    const stream = valueOf(await upstream.getBlob(repository, blob.digest, options));
    abort.abort();
    expect((await readBody(stream)).bytes.length).toBe(blob.size);
  });
});

test('nothing that is told of a failure holds a secret', async () => {
  const { hub } = await hubAndUpstream();
  const blob = generatedContent({ size: 100_000, seed: 4 });
  hub.addBlob('carol/private', blob);
  const told: unknown[] = [];
  const ask = () => {
    // A new client each time: the breakers of one would soon spare upstream.
    const { upstream, events } = watchedUpstream(hub.url, { credentials: CAROL, headersTimeoutMs: 1000 });
    told.push(events);
    return upstream.getBlob('carol/private', blob.digest, { ...CONFIGURED, offset: 0 });
  };
  const faults: FaultAction[] = [
    { hang: true },
    { hangUp: 'fin' },
    { raw: 'garbage\r\n\r\n' },
    { redirectTo: 'http://[' },
    { redirectTo: 'ftp://user:secret-in-a-redirect@host/a?sig=secret-in-a-query' },
    ...[401, 403, 404, 416, 429, 500].map((code) => ({ status: { code } })),
    { html: true },
    { cutAfterBytes: 1000 },
  ];
  for (const host of ['token', 'registry', 'blobs'] as const) {
    for (const action of faults) {
      hub.expireTokens();
      const fault = hub.fault({
        match: { host, method: 'GET' },
        after: host === 'registry' ? 1 : 0,
        do: action,
      });
      const outcome = await ask();
      if (outcome.kind === 'ok') told.push((await readBody(outcome.value)).error);
      else told.push(outcome);
      fault.remove();
    }
  }
  const text = JSON.stringify(told, (_key, value: unknown) =>
    value instanceof Error ? [value.message, value.stack, String(value.cause)] : value,
  );
  const secrets = [...secretsOf(hub.requests), CAROL.password, 'secret-in-a-redirect', 'secret-in-a-query'];
  expect(secrets.length).toBeGreaterThan(10);
  for (const secret of secrets) expect(text).not.toContain(secret);
  expect(told.length).toBe(2 * 3 * faults.length);
});
