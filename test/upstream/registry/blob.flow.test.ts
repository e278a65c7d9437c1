import { describe, expect, test } from 'vitest';
import { digestOf } from '../../../src/oci/digest.ts';
import { BodyBrokenError } from '../../../src/upstream/upstream.ts';
import { bytesContent, generatedContent } from '../../fake/content.ts';
import type { FakeHubOptions } from '../../fake/hub.ts';
import { ANYBODY, causeOf, hubAndUpstream, readBody, valueOf } from '../../support/upstream-client.ts';
import { withDeadline } from '../../support/wait.ts';

const REPOSITORY = 'library/golang';
const BLOB = generatedContent({ size: 3_000_000, seed: 7 });
const AT_BLOB_HOST = { host: 'blobs', kind: 'blob' } as const;

async function setUp(hubOptions: FakeHubOptions = {}, idleTimeoutMs = 20_000) {
  const parts = await hubAndUpstream(hubOptions, { idleTimeoutMs });
  parts.hub.addBlob(REPOSITORY, BLOB);
  const { upstream } = parts;
  const open = (offset = 0) => upstream.getBlob(REPOSITORY, BLOB.digest, { ...ANYBODY, offset });
  const head = (digest = BLOB.digest) => upstream.headBlob(REPOSITORY, digest, ANYBODY);
  return { ...parts, open, head };
}

describe('A registry that sends whoever asks for a blob on to another host, with a page for people as Go does', () => {
  test('is asked for one blob after the other, and not taken for a captive portal', async () => {
    const { hub, upstream } = await hubAndUpstream();
    for (let number = 0; number < 10; number++) {
      const blob = bytesContent(Buffer.from(`blob ${number}`));
      hub.addBlob(REPOSITORY, blob);
      const { bytes } = await readBody(
        valueOf(await upstream.getBlob(REPOSITORY, blob.digest, { ...ANYBODY, offset: 0 })),
      );
      expect(digestOf(bytes)).toBe(blob.digest);
    }
  });
});

describe.each([true, false])('a blob (from a host of its own: %j)', (redirectBlobs) => {
  test('comes whole', async () => {
    const { open, receivedBytes } = await setUp({ redirectBlobs });
    const stream = valueOf(await open());
    expect(stream).toMatchObject({ offset: 0, totalSize: BLOB.size });
    const { bytes, error } = await readBody(stream);
    expect(error).toBeUndefined();
    expect(digestOf(bytes)).toBe(BLOB.digest);
    expect(receivedBytes()).toBe(BLOB.size);
  });

  test('comes from an offset on, by Range', async () => {
    const { hub, open } = await setUp({ redirectBlobs });
    const offset = 1_234_567;
    const stream = valueOf(await open(offset));
    expect(stream).toMatchObject({ offset, totalSize: BLOB.size });
    const { bytes, error } = await readBody(stream);
    expect(error).toBeUndefined();
    expect(bytes.equals(BLOB.expectedBytes(offset, BLOB.size))).toBe(true);
    expect(hub.requests.at(-1)?.headers.range).toBe(`bytes=${offset}-`);
  });

  test('has its size told by a HEAD', async () => {
    const { hub, head } = await setUp({ redirectBlobs });
    expect(valueOf(await head())).toEqual({ size: BLOB.size });
    expect(hub.count({ kind: 'blob', method: 'GET' })).toBe(0);
  });
});

describe('the body of a blob', () => {
  test('begins at 0 when the range is ignored, and says so', async () => {
    const { hub, open } = await setUp();
    hub.fault({ match: AT_BLOB_HOST, do: { ignoreRange: true } });
    const stream = valueOf(await open(1000));
    expect(stream).toMatchObject({ offset: 0, totalSize: BLOB.size });
    expect(digestOf((await readBody(stream)).bytes)).toBe(BLOB.digest);
  });

  test.each([
    ['begins elsewhere', 'bytes 0-9/20'],
    ['is not the one of the length', 'bytes 1000-1010/2000'],
    ['is malformed', 'bytes 1000'],
  ])('is refused when its range %s', async (_what, contentRange) => {
    const { hub, open } = await setUp();
    const headers = { 'content-range': contentRange };
    hub.fault({ match: AT_BLOB_HOST, do: { status: { code: 206, body: '0123456789', headers } } });
    expect(causeOf(await open(1000))).toMatch(/^not-a-registry: .* sent another range than requested$/);
  });

  test('is not to be had from beyond its end', async () => {
    const { hub, open } = await setUp();
    expect(causeOf(await open(BLOB.size))).toBe(
      `not-a-registry: localhost:${new URL(hub.blobsUrl).port} answered 416`,
    );
  });

  test('has no total size when nobody tells', async () => {
    const { hub, open, head } = await setUp();
    hub.fault({ match: { kind: 'blob' }, do: { noContentLength: true } });
    const stream = valueOf(await open());
    expect(stream.totalSize).toBeUndefined();
    expect(digestOf((await readBody(stream)).bytes)).toBe(BLOB.digest);
    expect(valueOf(await head())).toEqual({});
  });

  test.each(['fin', 'rst'] as const)(
    'is cut, after all that came, when its connection ends by %s',
    async (cutBy) => {
      const { hub, open } = await setUp();
      hub.fault({ match: AT_BLOB_HOST, do: { cutAfterBytes: 1_000_000, cutBy } });
      const { bytes, error } = await readBody(valueOf(await open()));
      expect(error).toBeInstanceOf(BodyBrokenError);
      expect(error).toMatchObject({
        code: 'cut',
        message: expect.stringContaining(`after ${bytes.length} bytes`),
      });
      expect(bytes.equals(BLOB.expectedBytes(0, bytes.length))).toBe(true);
      // What the kernel had not delivered is lost by a reset.
      if (cutBy === 'fin') expect(bytes.length).toBe(1_000_000);
    },
  );

  test('is stalled when nothing comes for the idle timeout', async () => {
    const { hub, open } = await setUp({}, 2000);
    hub.holdBlob(BLOB.digest, 500_000);
    const reading = readBody(valueOf(await open()));
    const { bytes, error } = await withDeadline(reading, 'the stall to be noticed');
    expect(error).toMatchObject({
      code: 'stalled',
      message: expect.stringContaining('sent nothing for 2 s'),
    });
    expect(bytes.length).toBe(500_000);
  });

  test('is short when it ends in good order before the end of its range', async () => {
    const { hub, open } = await setUp();
    const truncate = { toBytes: 1000, contentLength: 'absent' } as const;
    hub.fault({ match: AT_BLOB_HOST, do: { truncate } });
    const { bytes, error } = await readBody(valueOf(await open(1000)));
    expect(bytes.length).toBe(1000);
    expect(error).toMatchObject({ code: 'short' });
  });

  test('is held back while nobody reads, which is no stall', async () => {
    const { hub, upstream, open } = await setUp({}, 2000);
    const big = generatedContent({ size: 64 * 1024 * 1024, seed: 8 });
    hub.addBlob(REPOSITORY, big);
    const unread = valueOf(await upstream.getBlob(REPOSITORY, big.digest, { ...ANYBODY, offset: 0 }));
    hub.holdBlob(BLOB.digest, 500_000);
    // The timeout passes for one that is read, but has nothing more to give.
    expect((await readBody(valueOf(await open()))).error).toMatchObject({ code: 'stalled' });
    expect(hub.bytesSent(big.digest)).toBeLessThan(big.size / 2);
    const { bytes, error } = await readBody(unread);
    expect(error).toBeUndefined();
    expect(digestOf(bytes)).toBe(big.digest);
  });

  test('ends with its connection when it is closed, for one who reads as well', async () => {
    const { hub, open } = await setUp();
    hub.holdBlob(BLOB.digest, 500_000);
    const stream = valueOf(await open());
    const reading = readBody(stream);
    await hub.waitFor(({ host, bytesSent }) => host === 'blobs' && bytesSent === 500_000, 'the body to stop');
    stream.close();
    stream.close();
    const { error } = await withDeadline(reading, 'the reader to be let go');
    expect(error).toMatchObject({ code: 'cut' });
    await hub.waitFor(({ host, closed }) => host === 'blobs' && closed, 'the connection to end');
  });

  test('ends with its connection when its reader leaves, and when nobody has read it', async () => {
    const { hub, open } = await setUp();
    const gate = hub.holdBlob(BLOB.digest, 500_000);
    for await (const chunk of valueOf(await open()).body) {
      expect(chunk.length).toBeGreaterThan(0);
      break;
    }
    await hub.waitFor(
      ({ host, closed }) => host === 'blobs' && closed,
      'the connection of the reader to end',
    );
    hub.reset();
    valueOf(await open()).close();
    await hub.waitFor(({ host, closed }) => host === 'blobs' && closed, 'the connection of nobody to end');
    gate.release();
  });
});

describe('the redirect of a blob', () => {
  test('is asked for anew each time, because what it was signed for expires', async () => {
    const { hub, open } = await setUp();
    for (const offset of [0, 10, 20]) await readBody(valueOf(await open(offset)));
    const atHub = hub.requests.filter(
      ({ host, kind, status }) => host === 'registry' && kind === 'blob' && status === 307,
    );
    expect(atHub.length).toBe(3);
    hub.setUrlLifetime(0);
    const port = new URL(hub.blobsUrl).port;
    expect(causeOf(await open())).toBe(
      `server-error: localhost:${port} answered 403, though the registry redirected to it`,
    );
    hub.setUrlLifetime(60);
    expect((await readBody(valueOf(await open()))).error).toBeUndefined();
  });

  test('may be signed for GET alone: a HEAD that it refuses becomes a GET of one byte', async () => {
    const { hub, head } = await setUp();
    const location = `${hub.blobsUrl}/signed-for-get?sig=1`;
    hub.fault({ match: { host: 'registry', kind: 'blob', method: 'HEAD' }, do: { redirectTo: location } });
    for (const code of [403, 405, 501]) {
      hub.reset();
      const fault = hub.fault({ match: { host: 'blobs', method: 'HEAD' }, do: { status: { code } } });
      expect(valueOf(await head())).toEqual({ size: BLOB.size });
      const get = hub.requests.filter(
        ({ kind, method, status }) => kind === 'blob' && method === 'GET' && status !== 401,
      );
      expect(get.map(({ host, headers }) => [host, headers.range])).toEqual([
        ['registry', 'bytes=0-0'],
        ['blobs', 'bytes=0-0'],
      ]);
      fault.remove();
    }
  });

  test('may ignore the range of that GET, which then costs no more than its head', async () => {
    const { hub, head } = await setUp();
    hub.fault({ match: { host: 'registry', method: 'HEAD' }, do: { headMethodNotAllowed: true } });
    hub.fault({ match: AT_BLOB_HOST, do: { ignoreRange: true } });
    hub.holdBlob(BLOB.digest, 500_000);
    expect(valueOf(await head())).toEqual({ size: BLOB.size });
    await hub.waitFor(({ host, closed }) => host === 'blobs' && closed, 'the connection to end');
  });

  test('knows the size of an empty blob, which has no first byte', async () => {
    const { hub, head } = await setUp();
    const empty = bytesContent(Buffer.alloc(0));
    hub.addBlob(REPOSITORY, empty);
    expect(valueOf(await head(empty.digest))).toEqual({ size: 0 });
    hub.fault({ match: { host: 'registry', method: 'HEAD' }, do: { headMethodNotAllowed: true } });
    expect(valueOf(await head(empty.digest))).toEqual({ size: 0 });
  });
});

test('a blob that does not exist is not found', async () => {
  const { upstream } = await setUp();
  const digest = digestOf(Buffer.from('hello world'));
  for (const outcome of [
    await upstream.headBlob(REPOSITORY, digest, ANYBODY),
    await upstream.getBlob(REPOSITORY, digest, { ...ANYBODY, offset: 0 }),
  ]) {
    expect(outcome).toEqual({ kind: 'not-found', noStore: false });
  }
});

test('a page of HTML is no blob', async () => {
  const { hub, open, head } = await setUp();
  hub.fault({ match: { kind: 'blob' }, do: { html: true } });
  expect(causeOf(await open())).toContain('not-a-registry: ');
  expect(causeOf(await head())).toContain('not-a-registry: ');
});
