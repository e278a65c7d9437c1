import { createReadStream } from 'node:fs';
import { stat, readFile } from 'node:fs/promises';
import type { Flags } from '../../config/flags.ts';
import type { LoadedSettings } from '../../config/load.ts';
import { SettingsError, readFailure } from '../../config/units.ts';
import { systemReason } from '../../lib/errors.ts';
import { counted, humanBytes, humanDuration } from '../../lib/text.ts';
import { OperationError, type ImportRequest, type ImportSummary } from '../../operations/protocol.ts';
import { exitCodeOf, type ExitCode } from '../exit.ts';
import { runOperation } from '../operation.ts';
import { print, printAside } from '../print.ts';
import { Progress } from '../progress.ts';

const STDIN = '-';
const CHUNK_BYTES = 1024 * 1024;
const PART = /^(.*)\.(\d{3})$/;

/** A bundle as it lies in files: one, or the parts of one that was split, in order. */
export interface BundleInput {
  /** What the user calls it. */
  readonly name: string;
  readonly paths: readonly string[];
}

/**
 * The bundles that these paths name: `x.001`, `x.002` … are parts of one, `-` is the standard input. Throws
 * SettingsError if parts are missing, doubled or in another order: what a shell expands is in order.
 */
export function bundleInputs(paths: readonly string[]): BundleInput[] {
  const inputs: { name: string; paths: string[] }[] = [];
  for (const path of paths) {
    const [, whole, number] = PART.exec(path) ?? [];
    const last = inputs.at(-1);
    if (whole === undefined) inputs.push({ name: path === STDIN ? 'standard input' : path, paths: [path] });
    else if (Number(number) === 1) inputs.push({ name: whole, paths: [path] });
    else if (last?.name === whole && Number(number) === last.paths.length + 1) last.paths.push(path);
    else
      throw new SettingsError([
        `${path} is not where it belongs: name all parts in order, from ${whole}.001`,
      ]);
  }
  if (paths.filter((path) => path === STDIN).length > 1) throw new SettingsError(['- can be named once']);
  return inputs;
}

/** Throws OperationError if a file cannot be read, which it names only where there are several. */
export async function* readBundle({ paths }: BundleInput): AsyncGenerator<Buffer, void> {
  let at = '';
  try {
    // What is not there is noticed before the first part has been read for an hour.
    for (at of paths) if (at !== STDIN) await stat(at);
    for (at of paths) {
      const stream = at === STDIN ? process.stdin : createReadStream(at, { highWaterMark: CHUNK_BYTES });
      yield* stream as AsyncIterable<Buffer>;
    }
  } catch (error) {
    const which = paths.length > 1 ? `${at} ` : '';
    throw new OperationError('failed', `${which}cannot be read: ${systemReason(error)}`, error);
  }
}

const SIGNATURES = {
  none: 'not signed',
  unchecked: 'signature not checked',
  verified: 'signed',
} as const satisfies Record<ImportSummary['signature'], string>;

/** Takes bundles in, one after the other, whatever becomes of the ones before: exit code 1 if one was refused. */
export async function importBundles(
  loaded: LoadedSettings,
  flags: Flags,
  paths: readonly string[],
): Promise<ExitCode> {
  const inputs = bundleInputs(paths);
  const request = await requestOf(loaded, flags);
  const summaries: ImportSummary[] = [];
  let worst: ExitCode = 0;
  for (const input of inputs) {
    try {
      const summary = await importOne(loaded, request, input);
      summaries.push(summary);
      if (flags['json'] !== true) print(importText(input.name, summary));
    } catch (error) {
      if (error instanceof OperationError && error.code === 'stopped') throw error;
      printAside(`pierhead: ${input.name}: ${error instanceof Error ? error.message : String(error)}\n`);
      worst = Math.max(worst, exitCodeOf(error)) as ExitCode;
    }
  }
  if (flags['json'] === true) print(importJson(summaries));
  return worst;
}

/**
 * Flags of settings are meant for this import, whoever does it; and where the settings of the command want a signature,
 * a server that was started before they did does not change that.
 */
async function requestOf({ settings }: LoadedSettings, flags: Flags): Promise<ImportRequest> {
  const { importPins: pin, verify } = flags;
  const path = verify ?? settings.importVerify;
  const pins = typeof pin === 'boolean' ? { pin } : {};
  if (typeof path !== 'string') return pins;
  try {
    return { ...pins, publicKey: await readFile(path, 'utf8') };
  } catch (error) {
    throw new SettingsError([
      `${verify === undefined ? 'importVerify' : '--verify'}: cannot read ${path} (${readFailure(error)})`,
    ]);
  }
}

async function importOne(
  loaded: LoadedSettings,
  request: ImportRequest,
  input: BundleInput,
): Promise<ImportSummary> {
  const progress = new Progress(process.stderr);
  const startedAt = performance.now();
  try {
    return await runOperation(loaded, {
      name: 'import',
      request,
      bytes: () => readBundle(input),
      onEvent: ({ images, blobs, totalBlobs, bytes, totalBytes }) => {
        const seconds = Math.max((performance.now() - startedAt) / 1000, 0.001);
        const done = `${blobs} of ${counted(totalBlobs, 'blob')}, ${humanBytes(bytes)} of ${humanBytes(totalBytes)}`;
        const text = `${counted(images, 'image')}: ${done}, ${humanBytes(bytes / seconds)}/s`;
        progress.show(bytes / Math.max(totalBytes, 1), text);
      },
    });
  } finally {
    progress.clear();
  }
}

export function importJson(summaries: readonly ImportSummary[]): string {
  return `${JSON.stringify(summaries, undefined, 2)}\n`;
}

export function importText(name: string, summary: ImportSummary): string {
  const { images, stored, known, signature, isPinned, unservedHosts, durationMs } = summary;
  const marks = [SIGNATURES[signature], isPinned ? 'pinned' : 'not pinned'].join(', ');
  const blobs = `${counted(stored.blobs, 'blob')} added (${humanBytes(stored.bytes)}), ${known.blobs} cached before`;
  const head = `${name}: ${counted(images.length, 'image')}, ${blobs}, in ${humanDuration(durationMs)}; ${marks}\n`;
  const rows = images.map(
    ({ image, digest }) => `  ${image.includes('@') ? image : `${image}  ${digest}`}\n`,
  );
  const unserved = unservedHosts.map(
    (host) => `  ${host} is not among the upstreams of the settings: nobody can pull from it until it is\n`,
  );
  return [head, ...rows, ...unserved].join('');
}
