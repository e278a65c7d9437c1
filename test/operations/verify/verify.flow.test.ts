import { mkdir, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { manifestOf } from '../../../src/oci/manifest.ts';
import { askOwner } from '../../../src/cli/control-client.ts';
import { digestOf } from '../../../src/oci/digest.ts';
import type { EventOf, ResultOf } from '../../../src/operations/protocol.ts';
import type { Finding, VerifyEvent } from '../../../src/operations/protocol.ts';
import { blobPath } from '../../../src/store/part/layout.ts';
import { openIndex } from '../../../src/store/manifest/lmdb.ts';
import { startTestApp, type TestApp } from '../../support/app.ts';
import { bigBlob, hubWith, MIB, storedBlob } from '../../support/big-blob.ts';
import { PLAIN } from '../../support/filled-hub.ts';
import { metric } from '../../support/metrics.ts';
import { inReach } from '../../support/reach.ts';
import { rot, shorten, storedBytes } from '../../support/stored-files.ts';
import { eventually, withDeadline } from '../../support/wait.ts';

const big = bigBlob({ size: 12 * MIB + 5, seed: 31 });
const { digest } = big.content;
const OFFLINE = { offline: true, scrubInterval: 'off' };
const WHEREABOUTS = { repositories: ['docker.io/library/big'], images: ['docker.io/library/big:latest'] };

interface Verified {
  readonly summary: ResultOf<'verify'>;
  readonly findings: readonly Finding[];
  readonly events: readonly VerifyEvent[];
}

async function verify(
  app: Pick<TestApp, 'dataDir'>,
  options: {
    readonly repair?: boolean;
    readonly signal?: AbortSignal;
    readonly onEvent?: (event: EventOf<'verify'>) => void;
  } = {},
): Promise<Verified> {
  const events: VerifyEvent[] = [];
  const { signal = new AbortController().signal, repair = false } = options;
  const onEvent = (event: VerifyEvent): void => {
    events.push(event);
    options.onEvent?.(event);
  };
  const order = { name: 'verify', request: { repair }, run: { signal, onEvent } } as const;
  const answer = await withDeadline(askOwner(app.dataDir, order), 'the verification');
  if (answer.kind !== 'done') throw new Error(`the server is ${answer.kind}`);
  const findings = events.flatMap((event) => (event.kind === 'finding' ? [event.finding] : []));
  return { summary: answer.result, findings, events };
}

/** A mirror that holds the big blob and its image. */
async function filledApp() {
  const hub = await hubWith(big);
  const app = await startTestApp({ hub, flags: { scrubInterval: 'off' } });
  await app.get('/v2/library/big/manifests/latest');
  await app.get(big.target);
  await storedBlob(app, big);
  return { hub, app };
}

describe('a verification', () => {
  it('finds nothing wrong where nothing is, and says how much there was', async () => {
    const { app } = await filledApp();
    const { summary, findings, events } = await verify(app);
    expect(findings).toEqual([]);
    expect(summary).toMatchObject({ blobs: 1, manifests: 1, problems: 0, repaired: 0, adopted: 0 });
    expect(summary.bytes).toBeGreaterThan(big.content.size);
    expect(events.at(-1)).toMatchObject({ kind: 'progress', checked: 2, total: 2 });
  });

  it.each([
    ['corrupt', rot],
    ['short', shorten],
    ['missing', (dataDir: string) => rm(blobPath(dataDir, digest))],
  ] as const)('finds a %s blob and leaves it as it is', async (problem, damage) => {
    const { app, hub } = await filledApp();
    await damage(app.dataDir, digest);
    const damaged = await storedBytes(app.dataDir, digest);
    hub.reset();
    const { summary, findings } = await verify(app);
    expect(findings).toEqual([
      { content: 'blob', digest, size: big.content.size, problem, ...WHEREABOUTS, outcome: 'found' },
    ]);
    expect(summary).toMatchObject({ problems: 1, repaired: 0 });
    const left = await storedBytes(app.dataDir, digest);
    expect(damaged === undefined ? left === undefined : left?.equals(damaged)).toBe(true);
    expect(hub.requests).toEqual([]);
  });

  it.each([
    ['corrupt', rot],
    ['short', shorten],
    ['missing', (dataDir: string) => rm(blobPath(dataDir, digest))],
  ] as const)('repairs a %s blob through a repository that holds it', async (problem, damage) => {
    const { app, hub } = await filledApp();
    await damage(app.dataDir, digest);
    hub.reset();
    const { summary, findings } = await verify(app, { repair: true });
    expect(findings).toMatchObject([{ digest, problem, ...WHEREABOUTS, outcome: 'repaired' }]);
    expect(summary).toMatchObject({ problems: 1, repaired: 1 });
    expect((await storedBytes(app.dataDir, digest))?.equals(big.whole)).toBe(true);
    expect(hub.bytesSent(digest)).toBe(big.content.size);
    expect((await app.get(big.target)).header('cache-status')).toBe('pierhead; hit');
    const counted = `problem="${problem}",found_by="verify",outcome="repaired"`;
    expect(await metric(app, 'pierhead_blob_faults_total', counted)).toBe(1);
    expect((await verify(app)).findings).toEqual([]);
  });

  it('removes what is corrupt although upstream is away, and says why it is not there again', async () => {
    const { app, hub } = await filledApp();
    await rot(app.dataDir, digest);
    await hub.stop();
    const { summary, findings } = await verify(app, { repair: true });
    expect(findings).toMatchObject([{ digest, problem: 'corrupt', outcome: 'removed' }]);
    expect(findings[0]?.reason).toContain('is not cached');
    expect(summary).toMatchObject({ problems: 1, repaired: 0 });
    expect(await storedBytes(app.dataDir, digest)).toBeUndefined();
    await hub.start();
    await inReach(app);
    expect((await app.get(big.target)).body.equals(big.whole)).toBe(true);
  });

  it('says of a blob that no repository is known to hold that it cannot be had', async () => {
    const { app } = await filledApp();
    const stray = Buffer.from('nobody knows where this came from');
    await app.stop();
    const index = openIndex(join(app.dataDir, 'index'));
    await index.putBlob(digestOf(stray), { size: stray.length });
    await index.close();
    const next = await startTestApp({ hub: 'http://127.0.0.1:9', dataDir: app.dataDir, flags: OFFLINE });
    const { findings } = await verify(next, { repair: true });
    expect(findings).toEqual([
      {
        content: 'blob',
        digest: digestOf(stray),
        size: stray.length,
        problem: 'missing',
        repositories: [],
        images: [],
        outcome: 'removed',
        reason: 'no cached repository has it',
      },
    ]);
  });

  it('takes in a whole file that the index does not know, and complains of one that is not whole', async () => {
    const { app } = await filledApp();
    await app.stop();
    const index = openIndex(join(app.dataDir, 'index'));
    await index.deleteBlob(digest);
    await index.close();
    await writeFile(join(dirname(blobPath(app.dataDir, digest)), 'not-a-digest'), 'is left alone');
    const next = await startTestApp({ hub: 'http://127.0.0.1:9', dataDir: app.dataDir, flags: OFFLINE });
    expect((await verify(next)).summary).toMatchObject({ blobs: 1, problems: 0, adopted: 1 });
    expect((await verify(next)).summary).toMatchObject({ blobs: 1, problems: 0, adopted: 0 });
    const other = digestOf(Buffer.from('what it should be'));
    await mkdir(dirname(blobPath(app.dataDir, other)), { recursive: true });
    await writeFile(blobPath(app.dataDir, other), 'what it is');
    expect((await verify(next, { repair: true })).findings).toMatchObject([
      { digest: other, problem: 'corrupt', outcome: 'removed' },
    ]);
    expect(await storedBytes(app.dataDir, other)).toBeUndefined();
  });

  it('finds a manifest that is not what its digest names, and repairs it', async () => {
    const { app, hub } = await filledApp();
    await app.get('/v2/library/plain/manifests/latest');
    await app.stop();
    const { root } = PLAIN.image;
    const index = openIndex(join(app.dataDir, 'index'));
    const bytes = Buffer.concat([root.bytes, Buffer.from(' ')]);
    await index.putManifest(manifestOf({ ...root, bytes }));
    await index.close();
    const next = await startTestApp({ hub, dataDir: app.dataDir, flags: { scrubInterval: 'off' } });
    expect((await verify(next)).findings).toMatchObject([
      { content: 'manifest', digest: root.digest, problem: 'corrupt', outcome: 'found' },
    ]);
    expect((await verify(next, { repair: true })).findings).toMatchObject([
      {
        content: 'manifest',
        repositories: ['docker.io/library/plain'],
        images: ['docker.io/library/plain:latest'],
        outcome: 'repaired',
      },
    ]);
    expect((await verify(next)).findings).toEqual([]);
    const served = await next.get(`/v2/library/plain/manifests/${root.digest}`);
    expect(served.body.equals(root.bytes)).toBe(true);
  });

  it('ends when its caller goes away, and leaves the way free for the next one', async () => {
    const { app } = await filledApp();
    const going = new AbortController();
    const first = verify(app, { signal: going.signal, onEvent: () => going.abort(new Error('gone')) });
    await expect(first).rejects.toThrow('gone');
    const { summary } = await eventually(
      () =>
        verify(app).catch((error: unknown) =>
          String(error).includes('another verification is running') ? undefined : Promise.reject(error),
        ),
      'the first one to end',
    );
    expect(summary.problems).toBe(0);
  });

  it('shares the transfer of what it repairs with clients that ask for it meanwhile', async () => {
    const { app, hub } = await filledApp();
    await rot(app.dataDir, digest);
    hub.reset();
    const gate = hub.holdBlob(digest, 4 * MIB);
    const repaired = verify(app, { repair: true });
    await gate.reached;
    const client = app.begin(big.target);
    await client.bodyReached(3 * MIB);
    gate.release();
    expect((await client.finished()).body.equals(big.whole)).toBe(true);
    expect((await repaired).summary.repaired).toBe(1);
    expect(hub.bytesSent(digest)).toBe(big.content.size);
  });

  it('goes on while blobs are pulled, and takes none of them for damaged', async () => {
    const { app, hub } = await filledApp();
    const others = Array.from({ length: 8 }, (_, seed) => bigBlob({ size: 3 * MIB, seed: 100 + seed }));
    for (const { content } of others) hub.addBlob('library/big', content);
    const pulls = others.map(({ target }) => app.get(target));
    const results: Verified[] = [];
    for (let round = 0; round < 5; round++) results.push(await verify(app, { repair: true }));
    const answers = await Promise.all(pulls);
    expect(answers.every(({ complete }) => complete)).toBe(true);
    expect(results.flatMap(({ findings }) => findings)).toEqual([]);
    await Promise.all(others.map((other) => storedBlob(app, other)));
    expect((await verify(app)).summary).toMatchObject({ blobs: 9, problems: 0 });
  });
});
