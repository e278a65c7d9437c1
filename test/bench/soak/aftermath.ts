import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { readMetrics } from '../metrics.ts';
import { openDescriptors } from '../process-probe.ts';
import type { ServerProcess } from '../server-process.ts';
import type { Stage } from '../stage.ts';
import type { Tally } from './tally.ts';

const run = promisify(execFile);

/** Longer than anything that is kept open for a while. */
const SETTLE_MS = 60_000;
const ASK_EVERY_MS = 250;
/** Longer than an image is spared after its pull, and looked at again. */
const EVICTION_PAUSE_MS = 20_000;
/** Levels of pino. */
const ERROR_LEVEL = 50;
/** What is no error for an operator, and must not happen here: nobody takes files away, and no disk loses bits. */
const BAD_EVENTS: ReadonlySet<unknown> = new Set(['blob lost', 'bad content', 'stray file removed']);

/** Resolves when nothing is amiss any more, as far as the server tells: what upstream did has to be got over. */
export async function untilReady({ server }: Stage, tally: Tally): Promise<void> {
  let told = '';
  const isReady = await within(SETTLE_MS, async () => {
    told = await (await fetch(`${server.url}/readyz`)).text();
    return told.includes('"ready"');
  });
  if (!isReady) tally.violation('the server stays degraded although upstream is sound', told.trim());
}

/** Resolves when nothing is evicted any more: what was just pulled may go only later. */
export async function untilSettled({ adminUrl }: Stage): Promise<void> {
  let seen = NaN;
  let since = performance.now();
  await within(2 * SETTLE_MS, async () => {
    const evicted = (await readMetrics(adminUrl)).sum('pierhead_evicted_blobs_total');
    if (evicted !== seen) since = performance.now();
    seen = evicted;
    return performance.now() - since > EVICTION_PAUSE_MS;
  });
}

/** Resolves when nothing is being transferred any more. */
export async function untilQuiet({ adminUrl }: Stage, tally: Tally): Promise<void> {
  const isQuiet = await within(
    SETTLE_MS,
    async () => (await readMetrics(adminUrl)).sum('pierhead_fills_running') === 0,
  );
  if (!isQuiet) tally.violation('a transfer does not end', `${SETTLE_MS / 1000} s after the last request`);
}

/** What is open once connections and files are not: both are kept open for a while for whoever comes next. */
export async function descriptorsAtRest(
  { server, dataDir }: Stage,
  atStart: readonly string[],
): Promise<string[]> {
  let open: string[] = [];
  await within(SETTLE_MS, async () => {
    open = await openDescriptors(server.pid);
    return without(open, atStart).every((each) => each !== 'socket' && !isContent(each, dataDir));
  });
  return open.filter((each) => !isContent(each, dataDir));
}

function isContent(target: string, dataDir: string): boolean {
  return target.startsWith(join(dataDir, 'blobs')) || target.startsWith(join(dataDir, 'parts'));
}

/** Nothing is open that was not open `before`. */
export async function checkDescriptors(
  { server }: Stage,
  before: readonly string[],
  tally: Tally,
): Promise<void> {
  let left: string[] = [];
  const isBack = await within(SETTLE_MS, async () => {
    left = without(await openDescriptors(server.pid), before);
    return left.length === 0;
  });
  if (!isBack) tally.violation('descriptors leaked', left.join(', '));
}

export async function checkParts({ dataDir }: Stage, tally: Tally): Promise<void> {
  let names: string[] = [];
  const isEmpty = await within(SETTLE_MS, async () => {
    names = await readdir(join(dataDir, 'parts'));
    return names.length === 0;
  });
  if (!isEmpty) tally.violation('files leaked in parts/', names.join(', '));
}

/** Every file in blobs/ is what its name says, and the index knows these and no others. */
export async function checkBlobs(stage: Stage, { root, node }: { root: string; node: string }, tally: Tally) {
  const { dataDir, adminUrl } = stage;
  const folder = join(dataDir, 'blobs');
  const entries = await readdir(folder, { withFileTypes: true, recursive: true });
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  for (const file of files) {
    const hash = createHash('sha256');
    await pipeline(createReadStream(file), hash);
    if (hash.digest('hex') !== basename(file)) tally.violation('a stored blob is wrong', file);
  }
  const metrics = await readMetrics(adminUrl);
  const known = metrics.sum('pierhead_store_blobs');
  tally.count('stored at the end', 'blobs', files.length);
  tally.count('stored at the end', 'bytes', metrics.sum('pierhead_store_blob_bytes'));
  if (known !== files.length) {
    tally.violation('index and files differ', `${known} in the index, ${files.length} files`);
  }
  const args = [join(root, 'dist/main.js'), 'verify', '--json', '--data-dir', dataDir];
  const verified = await run(node, args, { env: {} }).catch(
    (error: { stdout?: string; stderr?: string }) => error,
  );
  const summary = JSON.parse(verified.stdout ?? '') as { problems: number; adopted: number };
  if (summary.problems > 0) tally.violation('`pierhead verify` finds problems', String(verified.stdout));
  if (summary.adopted > 0)
    tally.violation('`pierhead verify` finds files that the index does not know', String(verified.stdout));
}

/** It is still there, stops when it is told to, and has logged nothing that must not be. */
export async function checkEnding({ server }: Stage, tally: Tally): Promise<void> {
  if (server.ending !== undefined) tally.violation('the server ended by itself', String(server.ending));
  await server.stop();
  if (server.ending !== 0) tally.violation('the server did not stop well', String(server.ending));
  await checkLog(server, tally);
}

async function checkLog(server: ServerProcess, tally: Tally): Promise<void> {
  const lines = (await readFile(server.logPath, 'utf8')).split('\n').filter((line) => line !== '');
  for (const line of lines) {
    const event = line.startsWith('{') ? (JSON.parse(line) as Readonly<Record<string, unknown>>) : undefined;
    if (event === undefined) tally.violation('the server wrote what is no log line', line);
    else if (Number(event['level']) >= ERROR_LEVEL) tally.violation('an error in the log', line);
    else if (BAD_EVENTS.has(event['msg']))
      tally.violation(`an event in the log: ${String(event['msg'])}`, line);
  }
}

/** What `now` has more of than `before`. */
function without(now: readonly string[], before: readonly string[]): string[] {
  const known = [...before];
  return now.filter((each) => {
    const at = known.indexOf(each);
    if (at >= 0) known.splice(at, 1);
    return at < 0;
  });
}

async function within(ms: number, holds: () => Promise<boolean>): Promise<boolean> {
  for (const end = performance.now() + ms; performance.now() < end;) {
    if (await holds()) return true;
    await sleep(ASK_EVERY_MS);
  }
  return holds();
}
