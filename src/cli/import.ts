import { readFile } from 'node:fs/promises';
import { SettingsError, readFailure } from '../config/errors.ts';
import type { Flags } from '../config/flags.ts';
import type { LoadedSettings } from '../config/load.ts';
import { counted, humanBytes, humanDuration } from '../lib/human.ts';
import type { ImportRequest, ImportSummary } from '../pull/bundle-operations.ts';
import { OperationError } from '../pull/operations.ts';
import { bundleInputs, readBundle, type BundleInput } from './bundle-input.ts';
import { exitCodeOf } from './failure.ts';
import { runOperation } from './operation.ts';
import { print, printAside } from './print.ts';
import { Progress } from './progress.ts';
import type { ExitCode } from './serve.ts';

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
  if (flags['json'] === true) print(`${JSON.stringify(summaries, undefined, 2)}\n`);
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
