import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { generatedContent } from '../../fake/content.ts';
import { image } from '../../fixtures/images.ts';
import { opaqueLayer } from '../../fixtures/tar.ts';
import { startTestApp } from '../../support/app.ts';
import { storedBlob } from '../../support/big-blob.ts';
import { filledHub, PLAIN, served } from '../../support/filled-hub.ts';
import { metric } from '../../support/metrics.ts';
import { eventually } from '../../support/wait.ts';

const MIB = 1024 * 1024;
const big = generatedContent({ size: 8 * MIB + 12_345, seed: 7 });
const whole = big.expectedBytes(0, big.size);
const bigImage = image({ message: 'big', layers: [opaqueLayer(big)] });
const target = `/v2/library/big/blobs/${big.digest}`;

async function hubWithBig() {
  const hub = await filledHub();
  hub.add({ repository: 'library/big', tags: ['latest'], image: bigImage });
  return hub;
}

describe('a blob', () => {
  it('comes whole, with every header that clients demand, cold and warm', async () => {
    const hub = await hubWithBig();
    const app = await startTestApp({ hub });
    const cold = await app.get(target);
    await storedBlob(app, { content: big, target, whole });
    const warm = await app.get(target);
    for (const answer of [cold, warm]) {
      expect(answer.status).toBe(200);
      expect(answer.complete).toBe(true);
      expect(answer.body.equals(whole)).toBe(true);
      expect(answer.header('content-type')).toBe('application/octet-stream');
      expect(answer.header('content-length')).toBe(String(big.size));
      expect(answer.header('docker-content-digest')).toBe(big.digest);
      expect(answer.header('etag')).toBe(`"${big.digest}"`);
      expect(answer.header('accept-ranges')).toBe('bytes');
    }
    expect(cold.header('cache-status')).toBe('pierhead; fwd=uri-miss; stored');
    expect(warm.header('cache-status')).toBe('pierhead; hit');
    expect(hub.bytesSent(big.digest)).toBe(big.size);
    expect(hub.violations).toEqual([]);
  });

  it('is transferred once, however many ask for it, and all of them start at once', async () => {
    const hub = await hubWithBig();
    const app = await startTestApp({ hub });
    const gate = hub.holdBlob(big.digest, 4 * MIB);
    const readers = Array.from({ length: 16 }, () => app.begin(target));
    await gate.reached;
    await Promise.all(readers.map((reader) => reader.bodyReached(3 * MIB)));
    gate.release();
    const answers = await Promise.all(readers.map((reader) => reader.finished()));
    expect(answers.every((answer) => answer.complete && answer.body.equals(whole))).toBe(true);
    expect(answers.filter((answer) => answer.header('cache-status')?.endsWith('collapsed'))).toHaveLength(15);
    expect(hub.bytesSent(big.digest)).toBe(big.size);
  });

  it('goes on filling when its first client goes away', async () => {
    const hub = await hubWithBig();
    const app = await startTestApp({ hub });
    await app.get('/v2/library/big/manifests/latest');
    const gate = hub.holdBlob(big.digest, 2 * MIB);
    const first = app.begin(target);
    await first.bodyReached(MIB);
    first.destroy();
    gate.release();
    await eventually(
      async () => (await app.head(target)).header('cache-status') === 'pierhead; hit',
      'the fill to end',
    );
    expect(hub.bytesSent(big.digest)).toBe(big.size);
  });

  it('is resumed from where upstream broke off, without its readers noticing', async () => {
    const hub = await hubWithBig();
    const app = await startTestApp({ hub });
    hub.fault({ match: { host: 'blobs' }, times: 1, do: { cutAfterBytes: 3 * MIB } });
    hub.fault({ match: { host: 'blobs' }, times: 1, do: { cutAfterBytes: 2 * MIB, cutBy: 'rst' } });
    const answer = await app.get(target);
    expect(answer.complete).toBe(true);
    expect(answer.body.equals(whole)).toBe(true);
    const ranges = hub.requests.flatMap(({ host, headers }) => (host === 'blobs' ? [headers.range] : []));
    expect(ranges[0]).toBeUndefined();
    expect(ranges.length).toBeGreaterThanOrEqual(3);
    expect(ranges.slice(1).every((range) => /^bytes=\d+-$/.test(range ?? ''))).toBe(true);
  });

  it('is resumed although upstream ignores the range', async () => {
    const hub = await hubWithBig();
    const app = await startTestApp({ hub });
    hub.fault({ match: { host: 'blobs' }, times: 1, do: { cutAfterBytes: 3 * MIB } });
    hub.fault({ match: { host: 'blobs' }, do: { ignoreRange: true } });
    const answer = await app.get(target);
    expect(answer.body.equals(whole)).toBe(true);
  });

  it('that upstream corrupts never ends cleanly, is not kept, and is fetched afresh', async () => {
    const hub = await hubWithBig();
    const app = await startTestApp({ hub });
    const fault = hub.fault({ match: { host: 'blobs' }, do: { corruptAt: 5 * MIB } });
    const broken = await app.get(target);
    expect(broken.complete).toBe(false);
    expect(broken.ending).toBe('rst');
    expect(broken.bodyBytes).toBeLessThanOrEqual(big.size - 64 * 1024);
    const line = await eventually(
      () => app.log.find(({ result }) => result === 'corrupt'),
      'the corruption to be logged',
    );
    expect(line).toMatchObject({ upstream: 'docker.io', digest: big.digest });
    expect(await metric(app, 'pierhead_fills_total', 'result="corrupt"')).toBe(1);
    expect(await readdir(join(app.dataDir, 'parts'))).toEqual([]);
    fault.remove();
    const again = await app.get(target);
    expect(again.body.equals(whole)).toBe(true);
  });

  it('that is small is held back whole until it is verified', async () => {
    const hub = await hubWithBig();
    const app = await startTestApp({ hub });
    const [layer] = PLAIN.image.layers;
    if (layer === undefined) throw new Error('the fixture has no layer');
    hub.fault({ match: { host: 'blobs' }, times: 1, do: { corruptAt: 3 } });
    const broken = await app.get(`/v2/library/plain/blobs/${layer.digest}`);
    expect(broken.bodyBytes).toBe(0);
    expect(broken.complete).toBe(false);
    expect((await app.get(`/v2/library/plain/blobs/${layer.digest}`)).complete).toBe(true);
  });

  it('that upstream gives up on for good is closed short by FIN, on which clients resume', async () => {
    const hub = await hubWithBig();
    const app = await startTestApp({ hub });
    hub.fault({ match: { host: 'blobs' }, times: 1, do: { cutAfterBytes: 3 * MIB } });
    const reader = app.begin(target);
    await reader.bodyReached(2 * MIB);
    await hub.stop();
    const answer = await reader.finished();
    expect(answer.status).toBe(200);
    expect(answer.complete).toBe(false);
    expect(answer.ending).toBe('fin');
    expect(answer.body.equals(whole.subarray(0, answer.bodyBytes))).toBe(true);
  });

  it('is served without a length if nobody tells it, and never ends cleanly short', async () => {
    const hub = await hubWithBig();
    const app = await startTestApp({ hub });
    hub.fault({ match: { host: 'blobs' }, do: { noContentLength: true } });
    // Were all of it here before the head goes out, its length would be known.
    const gate = hub.holdBlob(big.digest, 4 * MIB);
    const reader = app.begin(target);
    await reader.bodyReached(3 * MIB);
    gate.release();
    const cold = await reader.finished();
    expect(cold.header('content-length')).toBeUndefined();
    expect(cold.complete).toBe(true);
    expect(cold.body.equals(whole)).toBe(true);
  });

  it('that comes empty is no whole answer, unless its digest is that of nothing', async () => {
    const hub = await hubWithBig();
    const app = await startTestApp({ hub });
    const fault = hub.fault({
      match: { host: 'blobs' },
      do: { truncate: { toBytes: 0, contentLength: 'short' } },
    });
    const answer = await app.begin(target).finished();
    expect(answer.status).toBe(404);
    expect(fault.hits).toBeGreaterThan(0);
    fault.remove();
    const nothing = generatedContent({ size: 0, seed: 1 });
    hub.addBlob('library/big', nothing);
    const empty = await app.begin(`/v2/library/big/blobs/${nothing.digest}`).finished();
    expect([empty.status, empty.header('content-length'), empty.complete]).toEqual([200, '0', true]);
  });

  it('has the size that its manifest tells when upstream tells none', async () => {
    const hub = await hubWithBig();
    const app = await startTestApp({ hub });
    await app.get('/v2/library/big/manifests/latest');
    hub.fault({ match: { host: 'blobs' }, do: { noContentLength: true } });
    const cold = await app.get(target, { headers: [['Range', 'bytes=100-199']] });
    expect(cold.status).toBe(206);
    expect(cold.header('content-range')).toBe(`bytes 100-199/${big.size}`);
    expect(cold.body.equals(whole.subarray(100, 200))).toBe(true);
  });

  it('of another size than its manifest says is not served', async () => {
    const hub = await hubWithBig();
    const app = await startTestApp({ hub });
    await app.get('/v2/library/big/manifests/latest');
    hub.fault({ match: { host: 'blobs' }, do: { truncate: { toBytes: 1000, contentLength: 'short' } } });
    const answer = await app.get(target);
    expect(answer.status).toBe(404);
    expect(answer.header('cache-control')).toBe('no-store');
  });

  it('that goes through although the cache is full is passed on, verified, and not kept', async () => {
    const hub = await hubWithBig();
    const app = await startTestApp({ hub, flags: { cacheSize: '1MiB' } });
    const answer = await app.get(target);
    expect(answer.status).toBe(200);
    expect(answer.header('cache-status')).toBe('pierhead; fwd=bypass');
    expect(answer.body.equals(whole)).toBe(true);
    const part = await app.get(target, { headers: [['Range', 'bytes=5000000-5000099']] });
    expect(part.body.equals(whole.subarray(5_000_000, 5_000_100))).toBe(true);
    hub.fault({ match: { host: 'blobs' }, do: { corruptAt: 5 } });
    const broken = await app.get(target);
    expect(broken.complete).toBe(false);
    expect(broken.ending).toBe('rst');
    expect(await readdir(join(app.dataDir, 'parts'))).toEqual([]);
  });

  it('that is unknown upstream is a 404, and that is not remembered', async () => {
    const hub = await hubWithBig();
    const app = await startTestApp({ hub });
    const missing = generatedContent({ size: 100, seed: 9 });
    const path = `/v2/library/big/blobs/${missing.digest}`;
    const answer = await app.get(path);
    expect(answer.status).toBe(404);
    expect(answer.header('cache-control')).toBeUndefined();
    expect(JSON.parse(answer.body.toString())).toMatchObject({ errors: [{ code: 'BLOB_UNKNOWN' }] });
    expect((await app.head(path)).status).toBe(404);
    hub.addBlob('library/big', missing);
    expect((await app.get(path)).status).toBe(200);
  });

  it('that cannot be had in an outage is a 404 that nobody may keep, or a 503 in strict mode', async () => {
    const hub = await hubWithBig();
    const lenient = await startTestApp({ hub });
    const strict = await startTestApp({ hub, flags: { failMode: 'strict' } });
    await hub.stop();
    const answer = await lenient.get(target);
    expect(answer.status).toBe(404);
    expect(answer.header('cache-control')).toBe('no-store');
    expect((await strict.get(target)).status).toBe(503);
    const engine = await strict.get(target, {
      headers: [['User-Agent', 'docker/20.10.24 go/go1.19 os/linux arch/amd64']],
    });
    expect(engine.status).toBe(403);
    expect(JSON.parse(engine.body.toString())).toMatchObject({ errors: [{ code: 'DENIED' }] });
  });
});

describe('a HEAD of a blob', () => {
  it('answers 304 to who has it, whatever range it asks for', async () => {
    const hub = await hubWithBig();
    const app = await startTestApp({ hub });
    await app.get(target);
    for (const method of ['GET', 'HEAD']) {
      for (const value of [`"${big.digest}"`, big.digest, `"x", W/"${big.digest}"`, '*']) {
        const headers = [
          ['If-None-Match', value],
          ['Range', 'bytes=0-9'],
        ] as const;
        const answer = await app.get(target, { method, headers });
        expect(answer.status, `${method} ${value}`).toBe(304);
        expect(answer.header('etag')).toBe(`"${big.digest}"`);
        expect(answer.bodyBytes).toBe(0);
      }
    }
    const headers = [
      ['If-None-Match', '"x"'],
      ['Range', 'bytes=0-9'],
    ] as const;
    expect((await app.get(target, { headers })).status).toBe(206);
    // A range means nothing to a HEAD (RFC 9110 section 14.2).
    expect((await app.head(target, { headers })).status).toBe(200);
  });

  it('that is cold is a HEAD upstream, and fills nothing', async () => {
    const hub = await hubWithBig();
    const app = await startTestApp({ hub });
    const head = await app.head(target);
    expect(head.status).toBe(200);
    expect(head.header('content-length')).toBe(String(big.size));
    expect(head.body).toHaveLength(0);
    expect(served(hub, { kind: 'blob', method: 'HEAD' })).toBe(1);
    expect(served(hub, { kind: 'blob', method: 'GET' })).toBe(0);
    expect(await readdir(join(app.dataDir, 'parts'))).toEqual([]);
  });
});

describe('a range of a blob', () => {
  const ranged = (range: string) => ({ headers: [['Range', range]] as const });

  it.each(['cold', 'warm'])('is 206 with the right bytes when the blob is %s', async (state) => {
    const hub = await hubWithBig();
    const app = await startTestApp({ hub });
    if (state === 'warm') await app.get(target);
    for (const [range, start, end] of [
      ['bytes=0-', 0, big.size],
      ['bytes=1000-1999', 1000, 2000],
      [`bytes=${big.size - 10}-`, big.size - 10, big.size],
      ['bytes=-1000', big.size - 1000, big.size],
      [`bytes=3000000-${big.size + 5}`, 3_000_000, big.size],
    ] as const) {
      const answer = await app.get(target, ranged(range));
      expect(answer.status, range).toBe(206);
      expect(answer.header('content-range')).toBe(`bytes ${start}-${end - 1}/${big.size}`);
      expect(answer.header('content-length')).toBe(String(end - start));
      expect(answer.body.equals(whole.subarray(start, end)), range).toBe(true);
    }
    expect(hub.bytesSent(big.digest)).toBe(big.size);
  });

  it('may be several, in one multipart body', async () => {
    const hub = await hubWithBig();
    const app = await startTestApp({ hub });
    const answer = await app.get(target, ranged('bytes=0-9,100-199,-5'));
    expect(answer.status).toBe(206);
    const boundary = /^multipart\/byteranges; boundary=(\w+)$/.exec(answer.header('content-type') ?? '')?.[1];
    expect(boundary).toBeDefined();
    expect(answer.header('content-length')).toBe(String(answer.bodyBytes));
    const parts = answer.body.toString('latin1').split(`\r\n--${boundary}`);
    expect(parts.at(-1)).toBe('--\r\n');
    const bodies = parts.slice(1, -1).map((part) => {
      const [head = '', body = ''] = part.split('\r\n\r\n');
      return { range: /Content-Range: (.*)/.exec(head)?.[1], body: Buffer.from(body, 'latin1') };
    });
    expect(bodies).toEqual([
      { range: `bytes 0-9/${big.size}`, body: whole.subarray(0, 10) },
      { range: `bytes 100-199/${big.size}`, body: whole.subarray(100, 200) },
      { range: `bytes ${big.size - 5}-${big.size - 1}/${big.size}`, body: whole.subarray(big.size - 5) },
    ]);
  });

  it("may be as many as Podman's partial pulls name, in a header of 24 kB", async () => {
    const hub = await hubWithBig();
    const app = await startTestApp({ hub });
    const step = Math.floor(big.size / 1024);
    const spelt = (at: number): string => String(at).padStart(11, '0');
    const starts = Array.from({ length: 1024 }, (_, at) => at * step);
    const range = `bytes=${starts.map((start) => `${spelt(start)}-${spelt(start + 9)}`).join(',')}`;
    expect(range.length).toBeGreaterThan(24_000);
    const answer = await app.get(target, ranged(range));
    expect(answer.status).toBe(206);
    const boundary = /^multipart\/byteranges; boundary=(\w+)$/.exec(answer.header('content-type') ?? '')?.[1];
    const parts = answer.body.toString('latin1').split(`\r\n--${boundary}`).slice(1, -1);
    const bodies = parts.map((part) => Buffer.from(part.slice(part.indexOf('\r\n\r\n') + 4), 'latin1'));
    expect(bodies).toHaveLength(1024);
    expect(Buffer.concat(bodies).equals(Buffer.concat(starts.map((at) => whole.subarray(at, at + 10))))).toBe(
      true,
    );
  });

  it('asked for a thousand times is sent once', async () => {
    const hub = await hubWithBig();
    const app = await startTestApp({ hub });
    const answer = await app.get(target, ranged(`bytes=${'0-,'.repeat(1000)}0-`));
    expect([answer.status, answer.bodyBytes]).toEqual([206, big.size]);
  });

  it('beyond the end or backwards is 416 with the size', async () => {
    const hub = await hubWithBig();
    const app = await startTestApp({ hub });
    for (const range of [`bytes=${big.size}-`, 'bytes=500-0', 'bytes=-0']) {
      const answer = await app.get(target, ranged(range));
      expect(answer.status, range).toBe(416);
      expect(answer.header('content-range')).toBe(`bytes */${big.size}`);
      expect(JSON.parse(answer.body.toString())).toMatchObject({ errors: [{ code: 'SIZE_INVALID' }] });
    }
  });

  it('that is malformed, or of other content by If-Range, gives the whole', async () => {
    const hub = await hubWithBig();
    const app = await startTestApp({ hub });
    expect((await app.get(target, ranged('bytes=abc'))).status).toBe(200);
    const other = await app.get(target, {
      headers: [
        ['Range', 'bytes=0-9'],
        ['If-Range', '"other"'],
      ],
    });
    expect(other.status).toBe(200);
    const same = await app.get(target, {
      headers: [
        ['Range', 'bytes=0-9'],
        ['If-Range', `"${big.digest}"`],
      ],
    });
    expect(same.status).toBe(206);
  });
});

describe('clients that go away', () => {
  it('leave no open file behind: 40 HEADs and 40 aborted GETs, cold and warm', async () => {
    const hub = await hubWithBig();
    const app = await startTestApp({ hub });
    const openFiles = async () => {
      const links = await readdir('/proc/self/fd');
      const { readlink } = await import('node:fs/promises');
      const names = await Promise.all(links.map((link) => readlink(`/proc/self/fd/${link}`).catch(() => '')));
      return names.filter((name) => name.startsWith(app.dataDir) && /\/(blobs|parts)\//.test(name));
    };
    for (const phase of ['cold', 'warm']) {
      for (let i = 0; i < 40; i++) expect((await app.head(target)).status).toBe(200);
      for (let i = 0; i < 40; i++) {
        const reader = app.begin(target);
        await reader.head();
        reader.destroy();
      }
      await eventually(async () => (await openFiles()).length === 0, `all files to be closed (${phase})`);
    }
    expect((await app.get(target)).body.equals(whole)).toBe(true);
  });
});
