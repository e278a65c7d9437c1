import type { Flags } from '../../config/flags.ts';
import type { LoadedSettings } from '../../config/load.ts';
import { counted, humanBytes, humanDuration } from '../../lib/text.ts';
import type { Finding, VerifyProgress, VerifySummary } from '../../operations/protocol.ts';
import type { ExitCode } from '../exit.ts';
import { hasData, runOperation } from '../operation.ts';
import { print, table } from '../print.ts';
import { Progress, rateText } from '../progress.ts';

const MAX_NAMES = 4;

/** Hashes all cached content and prints the damage. Exit code 1: damage was not repaired. */
export async function verify(loaded: LoadedSettings, flags: Flags): Promise<ExitCode> {
  const findings: Finding[] = [];
  const progress = new Progress(process.stderr);
  const startedAt = performance.now();
  // Prints a message: a misspelt folder would look like a sound cache.
  await hasData(loaded.settings.dataDir);
  try {
    const summary = await runOperation(loaded, {
      name: 'verify',
      request: { repair: flags['repair'] === true },
      onEvent: (event) => {
        if (event.kind === 'finding') findings.push(event.finding);
        else
          progress.show(event.checkedBytes / Math.max(event.totalBytes, 1), progressText(event, startedAt));
      },
    });
    progress.clear();
    print(flags['json'] === true ? verifyJson(findings, summary) : verifyText(findings, summary));
    return summary.problems === summary.repaired ? 0 : 1;
  } catch (error) {
    progress.clear();
    // The findings before the interruption: some content may have been removed.
    if (flags['json'] !== true) print(findingsTable(findings));
    throw error;
  }
}

export function verifyJson(findings: readonly Finding[], summary: VerifySummary): string {
  return `${JSON.stringify({ ...summary, findings }, undefined, 2)}\n`;
}

export function verifyText(findings: readonly Finding[], summary: VerifySummary): string {
  const { blobs, manifests, bytes, problems, repaired, adopted, durationMs } = summary;
  const what = `${counted(blobs, 'blob')} and ${counted(manifests, 'manifest')}, ${humanBytes(bytes)}`;
  const speed = `${humanDuration(durationMs)} (${humanBytes(bytes / Math.max(durationMs / 1000, 0.001))}/s)`;
  const wrong = problems === 0 ? 'all sound' : `${counted(problems, 'problem')}, ${repaired} repaired`;
  const learnt = adopted === 0 ? '' : `; ${counted(adopted, 'blob')} added to the index`;
  return `${findingsTable(findings)}${what} in ${speed}: ${wrong}${learnt}\n`;
}

function findingsTable(findings: readonly Finding[]): string {
  if (findings.length === 0) return '';
  const rows = findings.map(({ content, problem, digest, size, outcome, repositories, images, reason }) => [
    `${problem} ${content}`,
    digest,
    size === undefined ? '-' : humanBytes(size),
    namesOf(images.length > 0 ? images : repositories),
    reason === undefined ? outcome : `${outcome}: ${reason}`,
  ]);
  return table([['PROBLEM', 'DIGEST', 'SIZE', 'IMAGES', 'OUTCOME'], ...rows]);
}

/** A base layer may belong to hundreds of images. */
function namesOf(names: readonly string[]): string {
  if (names.length === 0) return '-';
  const more = names.length - MAX_NAMES;
  return `${names.slice(0, MAX_NAMES).join(', ')}${more > 0 ? `, and ${more} more` : ''}`;
}

function progressText(
  { checked, total, checkedBytes, totalBytes }: VerifyProgress,
  startedAt: number,
): string {
  return `${checked} of ${total}, ${humanBytes(checkedBytes)} of ${humanBytes(totalBytes)}, ${rateText(checkedBytes, startedAt)}`;
}
