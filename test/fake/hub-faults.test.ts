import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { generatedContent } from './content.ts';
import type { FaultAction } from './faults.ts';
import { startFakeHub, type FakeHub } from './hub.ts';
import { plainFixture } from '../fixtures/images.ts';
import { fetchRaw, RawExchange, type RawResponse } from '../support/http.ts';
import { openBlob } from '../support/hub-client.ts';

const REPOSITORY = 'library/plain';
const plain = plainFixture();
const { root } = plain.image;
const blob = generatedContent({ size: 2_000_000, seed: 3 });
const { digest } = blob;
let hub: FakeHub;

beforeEach(async () => {
  hub = await startFakeHub({ auth: 'none' });
  hub.add({ repository: REPOSITORY, ...plain });
  hub.addBlob(REPOSITORY, blob);
});

afterEach(() => hub.close());

function getManifest(method = 'GET'): Promise<RawResponse> {
  return fetchRaw(`${hub.url}/v2/${REPOSITORY}/manifests/latest`, { method });
}

async function getBlob(range?: string): Promise<RawResponse> {
  const transfer = await openBlob(hub, { repository: REPOSITORY, digest, ...(range ? { range } : {}) });
  return transfer.finished();
}

/** Sets a fault on the next manifest and gets that manifest. */
function manifestWith(action: FaultAction): Promise<RawResponse> {
  hub.fault({ match: { kind: 'manifest' }, times: 1, do: action });
  return getManifest();
}

/** Sets a fault on the next body of a blob and gets that blob. */
function blobWith(action: FaultAction, range?: string): Promise<RawResponse> {
  hub.fault({ match: { host: 'blobs' }, times: 1, do: action });
  return getBlob(range);
}

describe('which requests a fault hits', () => {
  test('as many as it was told, after as many as it was told, and those that match', async () => {
    const action = { status: { code: 503 } };
    const fault = hub.fault({ match: { kind: 'manifest', method: 'GET' }, after: 1, times: 2, do: action });
    const statuses: number[] = [];
    for (const method of ['GET', 'HEAD', 'GET', 'HEAD', 'GET', 'GET']) {
      statuses.push((await getManifest(method)).status);
    }
    expect(statuses).toEqual([200, 200, 503, 200, 503, 200]);
    expect(fault.hits).toBe(2);
  });

  test('none once it was removed', async () => {
    const fault = hub.fault({ do: { status: { code: 500 } } });
    expect((await getManifest()).status).toBe(500);
    fault.remove();
    expect((await getManifest()).status).toBe(200);
  });
});

describe('other answers than the true one', () => {
  test('any status, with a body and headers', async () => {
    const status = { code: 502, body: 'bad', headers: { 'x-test': 'yes' } };
    const answer = await manifestWith({ status });
    expect([answer.status, answer.body.toString(), answer.header('x-test')]).toEqual([502, 'bad', 'yes']);
  });

  test('the abuse limit, in plain text', async () => {
    const answer = await manifestWith({ abuseLimit: { retryAfterSeconds: 60 } });
    expect([answer.status, answer.header('retry-after')]).toEqual([429, '60']);
    expect(answer.body.toString()).toBe('Too Many Requests\n');
  });

  test('a captive portal', async () => {
    const answer = await manifestWith({ html: true });
    expect([answer.status, answer.header('content-type')]).toEqual([200, 'text/html']);
  });

  test('a redirect to anywhere', async () => {
    const answer = await manifestWith({ redirectTo: 'http://127.0.0.1:1/elsewhere' });
    expect([answer.status, answer.header('location')]).toEqual([307, 'http://127.0.0.1:1/elsewhere']);
  });

  test('no HEAD', async () => {
    hub.fault({ do: { headMethodNotAllowed: true } });
    expect((await getManifest('HEAD')).status).toBe(405);
    expect((await getManifest('GET')).status).toBe(200);
  });

  test('a body without end in sight', async () => {
    const answer = await manifestWith({ hugeBody: 5_000_000 });
    expect([answer.header('content-length'), answer.bodyBytes]).toEqual([undefined, 5_000_000]);
  });

  test('what is no HTTP at all', async () => {
    hub.fault({
      do: { raw: 'HTTP/1.1 429 Too Many Requests\nRetry-After: 60\n\nToo Many Requests (HAP429).\n' },
    });
    await expect(getManifest()).rejects.toThrow('the connection ended by fin before the head');
  });
});

describe('trouble before the head', () => {
  test('a request that hangs is never answered', async () => {
    hub.fault({ match: { kind: 'manifest' }, do: { hang: true } });
    const exchange = new RawExchange({ origin: hub.url, target: `/v2/${REPOSITORY}/manifests/latest` });
    await hub.waitFor(({ kind }) => kind === 'manifest', 'the request that hangs');
    await getBlob();
    expect(exchange.socket.bytesRead).toBe(0);
    exchange.destroy();
    const hung = await hub.waitFor(({ kind, closed }) => kind === 'manifest' && closed, 'the client to go');
    expect(hung.status).toBeUndefined();
  });

  test('a head that is held goes out when it is released', async () => {
    const fault = hub.fault({ match: { kind: 'manifest' }, times: 1, do: { holdHeaders: true } });
    const exchange = new RawExchange({ origin: hub.url, target: `/v2/${REPOSITORY}/manifests/latest` });
    await fault.reached;
    expect(exchange.socket.bytesRead).toBe(0);
    fault.release();
    expect((await exchange.finished()).body).toEqual(root.bytes);
  });

  test('a head that is delayed comes', async () => {
    expect((await manifestWith({ delayHeadersMs: 20 })).status).toBe(200);
  });

  test.each(['fin', 'rst'] as const)('a connection that ends by %s instead of an answer', async (how) => {
    await expect(manifestWith({ hangUp: how })).rejects.toThrow(`ended by ${how} before the head`);
  });
});

describe('wrong heads', () => {
  test('without the digest, or with a wrong one', async () => {
    expect((await manifestWith({ noDigestHeader: true })).header('docker-content-digest')).toBeUndefined();
    const wrong = (await manifestWith({ wrongDigestHeader: true })).header('docker-content-digest');
    expect(wrong).toMatch(/^sha256:[0-9a-f]{64}$/);
    expect(wrong).not.toBe(root.digest);
  });

  test('a content encoding that is not true', async () => {
    const answer = await manifestWith({ contentEncoding: 'gzip' });
    expect([answer.header('content-encoding'), answer.body]).toEqual(['gzip', root.bytes]);
  });

  test('no content length', async () => {
    const answer = await blobWith({ noContentLength: true });
    expect([answer.header('content-length'), answer.header('transfer-encoding')]).toEqual([
      undefined,
      'chunked',
    ]);
    expect([answer.complete, answer.bodyBytes]).toEqual([true, blob.size]);
  });

  test('a range that is ignored', async () => {
    const answer = await blobWith({ ignoreRange: true }, 'bytes=5-9');
    expect([answer.status, answer.bodyBytes]).toEqual([200, blob.size]);
  });
});

describe('wrong bodies', () => {
  test('cut by FIN after so many bytes', async () => {
    const answer = await blobWith({ cutAfterBytes: 1_234_567 });
    expect(answer).toMatchObject({ status: 200, ending: 'fin', complete: false, bodyBytes: 1_234_567 });
    expect(answer.body.equals(blob.expectedBytes(0, 1_234_567))).toBe(true);
    expect(hub.bytesSent(digest)).toBe(1_234_567);
  });

  test('cut by RST', async () => {
    const answer = await blobWith({ cutAfterBytes: 1000, cutBy: 'rst' });
    expect(answer).toMatchObject({ ending: 'rst', complete: false });
  });

  test('chunked and cut', async () => {
    const answer = await blobWith({ cutAfterBytes: 1000, noContentLength: true });
    expect(answer).toMatchObject({ ending: 'fin', complete: false, bodyBytes: 1000 });
  });

  test('stalled until released, also in a range', async () => {
    const fault = hub.fault({ match: { host: 'blobs' }, times: 1, do: { stallAfterBytes: 700_000 } });
    const transfer = await openBlob(hub, { repository: REPOSITORY, digest, range: 'bytes=1000000-' });
    await fault.reached;
    await transfer.bodyReached(700_000);
    expect(transfer.bodyBytes).toBe(700_000);
    fault.release();
    const answer = await transfer.finished();
    expect(answer.body.equals(blob.expectedBytes(1_000_000, 1_000_000))).toBe(true);
  });

  test('one byte flipped, wherever the range begins', async () => {
    const { body } = await blobWith({ corruptAt: 1_500_000 }, 'bytes=1499999-1500001');
    const expected = blob.expectedBytes(1_499_999, 3);
    expect(body[1]).toBe((expected[1] ?? 0) ^ 0xff);
    expect([body[0], body[2]]).toEqual([expected[0], expected[2]]);
    expect((await getBlob()).body.equals(blob.expectedBytes(0, blob.size))).toBe(true);
  });

  test('short, but in good order', async () => {
    const lying = await blobWith({ truncate: { toBytes: 10, contentLength: 'short' } });
    expect([lying.complete, lying.header('content-length'), lying.bodyBytes]).toEqual([true, '10', 10]);
    const silent = await blobWith({ truncate: { toBytes: 10, contentLength: 'absent' } });
    expect([silent.complete, silent.header('content-length'), silent.bodyBytes]).toEqual([
      true,
      undefined,
      10,
    ]);
  });

  test('slow', async () => {
    const answer = await blobWith({ throttleBytesPerSecond: 20_000_000 });
    expect(answer.body.equals(blob.expectedBytes(0, blob.size))).toBe(true);
  });
});

describe('a held blob', () => {
  test('stops every transfer at that byte until the gate is released', async () => {
    const gate = hub.holdBlob(digest, 1_000_000);
    const whole = await openBlob(hub, { repository: REPOSITORY, digest });
    const across = await openBlob(hub, { repository: REPOSITORY, digest, range: 'bytes=999999-1999999' });
    const behind = await openBlob(hub, { repository: REPOSITORY, digest, range: 'bytes=1000001-' });
    await gate.reached;
    expect((await behind.finished()).bodyBytes).toBe(999_999);
    await whole.bodyReached(1_000_000);
    await across.bodyReached(1);
    expect([whole.bodyBytes, across.bodyBytes]).toEqual([1_000_000, 1]);
    gate.release();
    expect((await whole.finished()).body.equals(blob.expectedBytes(0, blob.size))).toBe(true);
    expect((await across.finished()).bodyBytes).toBe(1_000_001);
    expect((await getBlob()).complete).toBe(true);
  });

  test('can be held before its first byte, after its headers, and with several gates', async () => {
    const first = hub.holdBlob(digest, 0);
    const second = hub.holdBlob(digest, 10);
    const transfer = await openBlob(hub, { repository: REPOSITORY, digest });
    expect((await transfer.head()).status).toBe(200);
    await first.reached;
    expect(transfer.bodyBytes).toBe(0);
    first.release();
    await second.reached;
    await transfer.bodyReached(10);
    second.release();
    expect((await transfer.finished()).complete).toBe(true);
  });

  test('is let go when the stand-in closes', async () => {
    const gate = hub.holdBlob(digest, 5);
    const transfer = await openBlob(hub, { repository: REPOSITORY, digest });
    await gate.reached;
    await hub.close();
    expect((await transfer.finished()).ending).toMatch(/fin|rst/);
  });
});
