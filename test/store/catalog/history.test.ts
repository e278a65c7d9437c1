import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { digestOf } from '../../../src/oci/digest.ts';
import { HistoryBuffer, type HistoryBufferOptions } from '../../../src/store/catalog/history.ts';
import type { PullRecord } from '../../../src/store/history.ts';
import { openIndex } from '../../../src/store/manifest/lmdb.ts';
import { testFolder } from '../../support/temp.ts';
import { tellTo } from '../../support/told.ts';

const MINUTE = 60_000;
const DAY = 24 * 60 * MINUTE;

function pull(repository: string, more: Partial<PullRecord> = {}): PullRecord {
  return { repository, root: digestOf(Buffer.from(repository)), network: '10.0.0.0/24', ...more };
}

/** Notes with a clock that is set by hand, over an index of their own. */
async function notes(options: Partial<HistoryBufferOptions> = {}) {
  const path = join(await testFolder(), 'index');
  const index = openIndex(path);
  const clock = { now: 100 * DAY };
  const errors: unknown[] = [];
  const history = new HistoryBuffer({
    tables: index.tables,
    maxAgeMs: 30 * DAY,
    maxEntries: 1000,
    hasRoom: () => true,
    now: () => clock.now,
    tell: tellTo({ indexFailed: ({ error }) => errors.push(error) }),
    ...options,
  });
  onTestFinished(async () => {
    await history.close();
    await index.close();
  });
  const written = () => [...index.tables.history.until(Infinity)];
  return { history, index, clock, errors, written };
}

describe('the history of pulls', () => {
  it('is noted in memory, and written some time later', async () => {
    const { history, written, clock } = await notes();
    const child = digestOf(Buffer.from('child'));
    const full = pull('docker.io/library/golang', { tag: '1.22', child, platform: 'linux/amd64' });
    history.note(full);
    history.note(pull('docker.io/library/nginx'));
    expect(written()).toEqual([]);
    await history.flush();
    const at = { firstAt: clock.now, lastAt: clock.now, pulls: 1 };
    expect(written()).toEqual([
      { ...full, ...at },
      { ...pull('docker.io/library/nginx'), ...at },
    ]);
  });

  it('has one entry for what is pulled again within ten minutes, which counts', async () => {
    const { history, written, clock } = await notes();
    const start = clock.now;
    history.note(pull('a'));
    await history.flush();
    clock.now += 9 * MINUTE;
    history.note(pull('a'));
    history.note(pull('a', { network: '10.0.1.0/24' }));
    await history.flush();
    clock.now += MINUTE;
    history.note(pull('a'));
    await history.flush();
    expect(
      written().map(({ firstAt, lastAt, pulls, network }) => [
        firstAt - start,
        lastAt - start,
        pulls,
        network,
      ]),
    ).toEqual([
      [0, 9 * MINUTE, 2, '10.0.0.0/24'],
      [9 * MINUTE, 9 * MINUTE, 1, '10.0.1.0/24'],
      [10 * MINUTE, 10 * MINUTE, 1, '10.0.0.0/24'],
    ]);
  });

  it('loses nothing that was not written before its next entry began', async () => {
    const { history, written, clock } = await notes();
    history.note(pull('a'));
    clock.now += 11 * MINUTE;
    history.note(pull('a'));
    await history.flush();
    expect(written().map(({ pulls }) => pulls)).toEqual([1, 1]);
  });

  it('forgets what is too old', async () => {
    const { history, written, clock } = await notes();
    for (let at = 0; at < 450; at++) history.note(pull(`old-${at}`));
    await history.flush();
    clock.now += 30 * DAY;
    history.note(pull('young'));
    await history.flush();
    expect(written()).toHaveLength(451);
    clock.now += MINUTE;
    history.note(pull('young'));
    await history.flush();
    expect(written().map(({ repository }) => repository)).toEqual(['young']);
  });

  it('forgets the oldest of what is too much', async () => {
    const { history, written, clock } = await notes({ maxEntries: 300 });
    for (let at = 0; at < 750; at++) {
      clock.now += 1;
      history.note(pull(`image-${at}`));
    }
    await history.flush();
    expect(written()).toHaveLength(300);
    expect(written()[0]?.repository).toBe('image-450');
  });

  it('is not kept at all if the settings say so', async () => {
    const { history, written } = await notes({ maxEntries: 0 });
    history.note(pull('a'));
    await history.flush();
    expect(written()).toEqual([]);
  });

  it('is written later if the index does not take it now', async () => {
    const { history, written, errors, index } = await notes();
    const { environment } = index.tables;
    const write = environment.write.bind(environment);
    environment.write = () => Promise.reject(new Error('no room'));
    history.note(pull('a'));
    await history.flush();
    expect(errors).toHaveLength(1);
    environment.write = write;
    history.note(pull('a'));
    await history.flush();
    expect(written()).toMatchObject([{ repository: 'a', pulls: 2 }]);
  });

  it('waits until the cache may grow again', async () => {
    let hasRoom = false;
    const { history, written } = await notes({ hasRoom: () => hasRoom });
    history.note(pull('a'));
    await history.flush();
    expect(written()).toEqual([]);
    hasRoom = true;
    await history.flush();
    expect(written()).toHaveLength(1);
  });
});
