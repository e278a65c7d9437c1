import { describe, expect, it } from 'vitest';
import { startTestApp, type TestApp } from '../support/app.ts';
import { bigBlob, hubWith, MIB, ranged, rangesAsked, storedBlob } from '../support/big-blob.ts';
import { metric } from '../support/metrics.ts';
import { eventually } from '../support/wait.ts';

const big = bigBlob({ size: 40 * MIB + 4321, seed: 11 });
const { whole, target } = big;
const SIZE = whole.length;
const flags = { fillSegmentGap: '1MiB' };

/** Bytes of bodies that the mirror took from upstream, besides manifests of a few kB. */
const received = (app: TestApp) => metric(app, 'pierhead_upstream_body_bytes_total');
/** What a stream may have in its buffers when it is ended where the next one began. */
const IN_FLIGHT = 512 * 1024;

/** Four readers, 8 MiB apart, each held 1 MiB after where it began: as many segments as there may be. */
async function fourSegments() {
  const hub = await hubWith(big);
  const app = await startTestApp({ hub, flags: { ...flags, fillSegments: '4' } });
  await app.get('/v2/library/big/manifests/latest');
  const starts = [0, 8, 16, 24].map((at) => at * MIB);
  const gates = starts.map((start) => hub.holdBlob(big.content.digest, start + MIB));
  const readers = [];
  for (const start of starts) {
    const reader = app.begin(target, ranged(`bytes=${start}-`));
    readers.push(reader);
    await reader.bodyReached(MIB);
  }
  return { hub, app, starts, gates, readers };
}

describe('a reader that begins far ahead', () => {
  it('gets its bytes at once by another segment, which the first one runs up to', async () => {
    const hub = await hubWith(big);
    const app = await startTestApp({ hub, flags });
    await app.get('/v2/library/big/manifests/latest');
    const gate = hub.holdBlob(big.content.digest, 2 * MIB);
    const first = app.begin(target);
    await first.bodyReached(MIB);
    const far = await app.get(target, ranged(`bytes=${20 * MIB}-${30 * MIB - 1}`));
    expect(far.status).toBe(206);
    expect(far.header('content-range')).toBe(`bytes ${20 * MIB}-${30 * MIB - 1}/${SIZE}`);
    expect(far.body.equals(whole.subarray(20 * MIB, 30 * MIB))).toBe(true);
    gate.release();
    expect((await first.finished()).body.equals(whole)).toBe(true);
    await storedBlob(app, big);
    expect(rangesAsked(hub, big)).toEqual([undefined, `bytes=${20 * MIB}-`]);
    expect(await received(app)).toBeLessThan(SIZE + IN_FLIGHT);
    expect(await metric(app, 'pierhead_fill_segments_total')).toBe(2);
  });

  it('waits for the first segment if that is near', async () => {
    const hub = await hubWith(big);
    const app = await startTestApp({ hub, flags });
    const gate = hub.holdBlob(big.content.digest, 2 * MIB);
    const first = app.begin(target);
    await first.bodyReached(MIB);
    await eventually(async () => (await received(app)) >= 2 * MIB, 'all that is not held to be received');
    const near = app.begin(target, ranged(`bytes=${2.5 * MIB}-${3 * MIB - 1}`));
    await near.head();
    await app.caughtUp();
    gate.release();
    expect((await near.finished()).body.equals(whole.subarray(2.5 * MIB, 3 * MIB))).toBe(true);
    await first.finished();
    expect(rangesAsked(hub, big)).toEqual([undefined]);
  });

  it('waits where there are as many segments as there may be, all of them read, and asks for nothing twice', async () => {
    const { hub, app, starts, gates, readers } = await fourSegments();
    const fifth = app.begin(target, ranged(`bytes=${38 * MIB}-${39 * MIB - 1}`));
    await fifth.head();
    await app.caughtUp();
    expect(rangesAsked(hub, big)).toEqual([
      undefined,
      ...[8, 16, 24].map((at) => `bytes=${at * MIB}-${(at + 8) * MIB - 1}`),
    ]);
    // The first segment to end goes on where one waits.
    gates[2]?.release();
    expect((await fifth.finished()).body.equals(whole.subarray(38 * MIB, 39 * MIB))).toBe(true);
    for (const gate of gates) gate.release();
    for (const [index, reader] of readers.entries()) {
      expect((await reader.finished()).body.equals(whole.subarray(starts[index]))).toBe(true);
    }
    await storedBlob(app, big);
    expect(await received(app)).toBeLessThan(SIZE + 2 * IN_FLIGHT);
  });

  it('takes the place of a segment that nobody reads any more', async () => {
    const { app, gates, readers } = await fourSegments();
    readers[1]?.destroy();
    readers[2]?.destroy();
    await app.caughtUp();
    const fifth = app.begin(target, ranged(`bytes=${32 * MIB}-`));
    await fifth.bodyReached(7 * MIB);
    for (const gate of gates) gate.release();
    expect((await fifth.finished()).body.equals(whole.subarray(32 * MIB))).toBe(true);
    expect((await readers[0]?.finished())?.body.equals(whole)).toBe(true);
    await storedBlob(app, big);
  });

  it('does not make more of them by taking the place of one, and comes back to what that one left', async () => {
    const hub = await hubWith(big);
    const app = await startTestApp({ hub, flags: { ...flags, fillSegments: '2' } });
    await app.get('/v2/library/big/manifests/latest');
    const gates = [2, 21, 31].map((at) => hub.holdBlob(big.content.digest, at * MIB));
    await app.get(target, ranged(`bytes=0-${MIB - 1}`));
    const far = [20, 30].map((at) => ({ at, end: at + 2 }));
    const readers = far.map(({ at, end }) => app.begin(target, ranged(`bytes=${at * MIB}-${end * MIB - 1}`)));
    for (const reader of readers) await reader.bodyReached(MIB);
    const open = () =>
      hub.requests.flatMap(({ host, closed, headers }) =>
        host === 'blobs' && !closed ? [headers.range] : [],
      );
    await eventually(() => !open().includes(undefined), 'the first segment to end');
    await app.caughtUp();
    expect(open()).toHaveLength(2);
    for (const gate of gates) gate.release();
    for (const [index, { at, end }] of far.entries()) {
      expect((await readers[index]?.finished())?.body.equals(whole.subarray(at * MIB, end * MIB))).toBe(true);
    }
    await storedBlob(app, big);
    expect((await app.get(target)).body.equals(whole)).toBe(true);
  });

  it('follows the one segment of an upstream that knows no ranges', async () => {
    const hub = await hubWith(big);
    const app = await startTestApp({ hub, flags });
    await app.get('/v2/library/big/manifests/latest');
    const gate = hub.holdBlob(big.content.digest, 2 * MIB);
    const first = app.begin(target);
    await first.bodyReached(MIB);
    const fault = hub.fault({ match: { host: 'blobs' }, do: { ignoreRange: true } });
    const far = app.begin(target, ranged(`bytes=${20 * MIB}-${21 * MIB - 1}`));
    await eventually(() => fault.hits === 1, 'the range to be asked for');
    gate.release();
    expect((await far.finished()).body.equals(whole.subarray(20 * MIB, 21 * MIB))).toBe(true);
    expect((await first.finished()).body.equals(whole)).toBe(true);
    expect(rangesAsked(hub, big)).toHaveLength(2);
    await storedBlob(app, big);
    expect(await metric(app, 'pierhead_fill_segments_total')).toBe(2);
  });
});

describe('a break of one segment', () => {
  it('is mended from where it was, and leaves the other ones alone', async () => {
    const hub = await hubWith(big);
    const app = await startTestApp({ hub, flags });
    await app.get('/v2/library/big/manifests/latest');
    hub.fault({ match: { host: 'blobs' }, times: 1, do: { cutAfterBytes: 6 * MIB, cutBy: 'rst' } });
    const gate = hub.holdBlob(big.content.digest, 2 * MIB);
    const farGate = hub.holdBlob(big.content.digest, 30 * MIB);
    const first = app.begin(target);
    await first.bodyReached(MIB);
    const far = app.begin(target, ranged(`bytes=${20 * MIB}-`));
    await far.bodyReached(8 * MIB);
    gate.release();
    await eventually(() => rangesAsked(hub, big).length === 3, 'the first segment to go on');
    farGate.release();
    expect((await first.finished()).body.equals(whole)).toBe(true);
    expect((await far.finished()).body.equals(whole.subarray(20 * MIB))).toBe(true);
    const [, farRange, mended] = rangesAsked(hub, big);
    expect(farRange).toBe(`bytes=${20 * MIB}-`);
    // It ends where the other segment began.
    expect(mended).toMatch(new RegExp(`^bytes=\\d+-${20 * MIB - 1}$`));
  });
});

describe('clients that fetch in pieces', () => {
  it.each(['open', 'closed'])(
    'four containerds at eight places each, in %s ranges, cost it once',
    async (kind) => {
      const small = bigBlob({ size: 10 * MIB + 4321, seed: 12 });
      const size = small.whole.length;
      const hub = await hubWith(small);
      hub.fault({ match: { host: 'blobs' }, do: { throttleBytesPerSecond: 2 * MIB } });
      const app = await startTestApp({ hub, flags: { fillSegmentGap: '256KiB' } });
      await app.get('/v2/library/big/manifests/latest');
      const chunk = MIB / 2;
      const count = Math.ceil(size / chunk);
      /** Each place asks for the next piece that nobody of its client has, and hangs up when it has got that. */
      const pull = async (): Promise<Buffer> => {
        const pieces: Buffer[] = [];
        let next = 0;
        const place = async (): Promise<void> => {
          for (let index = next++; index < count; index = next++) {
            const [start, end] = [index * chunk, Math.min(size, (index + 1) * chunk)];
            const range = ranged(`bytes=${start}-${kind === 'open' ? '' : end - 1}`);
            const reader = app.begin(small.target, { ...range, timeoutMs: 60_000 });
            await reader.bodyReached(end - start);
            reader.destroy();
            pieces[index] = reader.received.subarray(0, end - start);
          }
        };
        await Promise.all(Array.from({ length: 8 }, place));
        return Buffer.concat(pieces);
      };
      for (const got of await Promise.all([pull(), pull(), pull(), pull()])) {
        expect(got.equals(small.whole)).toBe(true);
      }
      await storedBlob(app, small);
      expect(await received(app)).toBeLessThan(1.1 * size);
      expect(rangesAsked(hub, small).length).toBeLessThanOrEqual(count + 1);
    },
    120_000,
  );

  it('as containerd does, in parallel and with ranges that they do not read to the end', async () => {
    const hub = await hubWith(big);
    hub.fault({ match: { host: 'blobs' }, do: { throttleBytesPerSecond: 20 * MIB } });
    const app = await startTestApp({ hub, flags });
    await app.get('/v2/library/big/manifests/latest');
    const chunk = 10 * MIB;
    const pieces = [0, 1, 2, 3].map(async (index) => {
      const reader = app.begin(target, ranged(`bytes=${index * chunk}-`));
      await reader.bodyReached(Math.min(chunk, SIZE - index * chunk));
      reader.destroy();
      return reader.received;
    });
    for (const [index, bytes] of (await Promise.all(pieces)).entries()) {
      const start = index * chunk;
      expect(
        bytes.subarray(0, chunk).equals(whole.subarray(start, start + bytes.length).subarray(0, chunk)),
      ).toBe(true);
    }
    await storedBlob(app, big);
    expect((await app.get(target)).body.equals(whole)).toBe(true);
    expect(await received(app)).toBeLessThan(SIZE + 4 * IN_FLIGHT);
    expect(rangesAsked(hub, big).length).toBeLessThanOrEqual(4);
  });

  it('as lazy pullers do: the footer, the table of contents, then pieces, several in one header', async () => {
    const hub = await hubWith(big);
    const app = await startTestApp({ hub, flags });
    await app.get('/v2/library/big/manifests/latest');
    const gate = hub.holdBlob(big.content.digest, 2 * MIB);
    const footer = await app.get(target, ranged('bytes=-51'));
    expect(footer.status).toBe(206);
    expect(footer.body.equals(whole.subarray(SIZE - 51))).toBe(true);
    const contents = await app.get(target, ranged(`bytes=${SIZE - 300_000}-${SIZE - 52}`));
    expect(contents.body.equals(whole.subarray(SIZE - 300_000, SIZE - 51))).toBe(true);
    const several = await app.get(
      target,
      ranged(`bytes=${9 * MIB}-${9 * MIB + 99},${20 * MIB}-${20 * MIB + 9}`),
    );
    expect(several.status).toBe(206);
    expect(several.header('content-type')).toMatch(/^multipart\/byteranges; boundary=/);
    expect(several.body.includes(whole.subarray(9 * MIB, 9 * MIB + 100))).toBe(true);
    expect(several.body.includes(whole.subarray(20 * MIB, 20 * MIB + 10))).toBe(true);
    gate.release();
    await storedBlob(app, big);
    expect((await app.get(target)).body.equals(whole)).toBe(true);
    expect(await received(app)).toBeLessThan(SIZE + 5 * IN_FLIGHT);
  });
});

describe('a range that runs to the end', () => {
  it('of more than 1 MiB has its last bytes held back until the whole is verified', async () => {
    const hub = await hubWith(big);
    const app = await startTestApp({ hub, flags });
    await app.get('/v2/library/big/manifests/latest');
    const gate = hub.holdBlob(big.content.digest, 2 * MIB);
    const tail = app.begin(target, ranged(`bytes=${SIZE - 2 * MIB}-`));
    await tail.bodyReached(2 * MIB - 64 * 1024);
    await app.caughtUp();
    expect(tail.bodyBytes).toBe(2 * MIB - 64 * 1024);
    gate.release();
    expect((await tail.finished()).body.equals(whole.subarray(SIZE - 2 * MIB))).toBe(true);
  });
});
