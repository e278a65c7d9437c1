import { createReadStream } from 'node:fs';
import { stat, readFile } from 'node:fs/promises';
import type { Flags } from '../../config/flags.ts';
import type { LoadedSettings } from '../../config/load.ts';
import { SettingsError, readFailure } from '../../config/units.ts';
import { systemReason } from '../../lib/errors.ts';
import { counted, humanBytes, humanDuration } from '../../lib/text.ts';
import { OperationError, type ImportRequest, type ImportSummary } from '../../operations/protocol.ts';
import { exitCodeOf, worstOf, type ExitCode } from '../exit.ts';
import { runOperation } from '../operation.ts';
import { print, printAside } from '../print.ts';
import { Progress, rateText } from '../progress.ts';

const STDIN = '-';
const CHUNK_BYTES = 1024 * 1024;
const PART = /^(.*)\.(\d{3})$/;

/** A bundle in one file, or in parts. */
export interface BundleInput {
  /** For messages. */
  readonly name: string;
  readonly paths: readonly string[];
}

/**
 * The bundles of the arguments. `x.001`, `x.002` … are parts of one bundle, `-` is standard input. Throws SettingsError if
 * parts are missing, repeated or out of order. (Shells expand `x.*` in order.)
 */
export function bundleInputs(paths: readonly string[]): BundleInput[] {
  const inputs: { name: string; paths: string[] }[] = [];
  for (const path of paths) {
    const [, whole, number] = PART.exec(path) ?? [];
    const last = inputs.at(-1);
    if (whole === undefined) inputs.push({ name: path === STDIN ? 'standard input' : path, paths: [path] });
    else if (Number(number) === 1) inputs.push({ name: whole, paths: [path] });
    else if (last?.name === whole && Number(number) === last.paths.length + 1) last.paths.push(path);
    else throw new SettingsError([`${path} is out of order; name all parts in order, from ${whole}.001`]);
  }
  if (paths.filter((path) => path === STDIN).length > 1) throw new SettingsError(['- can be named once']);
  return inputs;
}

/** Throws OperationError if a file cannot be read. The message names the file only if there are several. */
export async function* readBundle({ paths }: BundleInput): AsyncGenerator<Buffer, void> {
  let at = '';
  try {
    // Finds a missing part before an hour of reading the others.
    for (at of paths) if (at !== STDIN) await stat(at);
    for (at of paths) {
      const stream = at === STDIN ? process.stdin : createReadStream(at, { highWaterMark: CHUNK_BYTES });
      yield* stream as AsyncIterable<Buffer>;
    }
  } catch (error) {
    const which = paths.length > 1 ? at : 'it';
    throw new OperationError('failed', `cannot read ${which}: ${systemReason(error)}`, error);
  }
}

const SIGNATURES = {
  none: 'not signed',
  unchecked: 'signature not checked',
  verified: 'signed',
} as const satisfies Record<ImportSummary['signature'], string>;

/** Imports bundles one after the other, and goes on after a failure. Exit code 1: a bundle was refused. */
export async function importBundles(
  loaded: LoadedSettings,
  flags: Flags,
  paths: readonly string[],
): Promise<ExitCode> {
  const inputs = bundleInputs(paths);
  const request = await requestOf(loaded, flags);
  const summaries: ImportSummary[] = [];
  const codes: ExitCode[] = [];
  for (const input of inputs) {
    try {
      const summary = await importOne(loaded, request, input);
      summaries.push(summary);
      if (flags['json'] !== true) print(importText(input.name, summary));
    } catch (error) {
      if (error instanceof OperationError && error.code === 'stopped') throw error;
      printAside(`pierhead: ${input.name}: ${error instanceof Error ? error.message : String(error)}\n`);
      codes.push(exitCodeOf(error));
    }
  }
  if (flags['json'] === true) print(importJson(summaries));
  return worstOf(codes);
}

/**
 * The server imports with the settings of this command: a flag, or an `importVerify` that the server was started without,
 * counts too.
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
        const done = `${blobs} of ${counted(totalBlobs, 'blob')}, ${humanBytes(bytes)} of ${humanBytes(totalBytes)}`;
        const text = `${counted(images, 'image')}: ${done}, ${rateText(bytes, startedAt)}`;
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

function importText(name: string, summary: ImportSummary): string {
  const { images, stored, known, signature, isPinned, unservedHosts, durationMs } = summary;
  const marks = [SIGNATURES[signature], isPinned ? 'pinned' : 'not pinned'].join(', ');
  const blobs = `${counted(stored.blobs, 'blob')} added (${humanBytes(stored.bytes)}), ${known.blobs} cached before`;
  const head = `${name}: ${counted(images.length, 'image')}, ${blobs}, in ${humanDuration(durationMs)}; ${marks}\n`;
  const rows = images.map(
    ({ image, digest }) => `  ${image.includes('@') ? image : `${image}  ${digest}`}\n`,
  );
  const unserved = unservedHosts.map(
    (host) => `  ${host} is not an upstream: clients cannot pull these images; add it to \`upstreams\`\n`,
  );
  return [head, ...rows, ...unserved].join('');
}
