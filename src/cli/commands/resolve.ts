import type { Flags } from '../../config/flags.ts';
import type { LoadedSettings } from '../../config/load.ts';
import { counted, humanBytes } from '../../lib/text.ts';
import type { ResolvedLayer, ResolvedManifest, ResolvedPart, Resolution } from '../../operations/protocol.ts';
import type { ExitCode } from '../exit.ts';
import { runOperation } from '../operation.ts';
import { print, table } from '../print.ts';

/** Shows the platforms and layers of an image, and which are cached. Exit code 1: a platform has no manifest. */
export async function resolve(
  loaded: LoadedSettings,
  flags: Flags,
  [image = '']: readonly string[],
): Promise<ExitCode> {
  const platform = flags['platform'];
  const resolution = await runOperation(loaded, {
    name: 'resolve',
    request: {
      image,
      ...(typeof platform === 'string' ? { platform } : {}),
      ...(flags['fetch'] === true ? { fetch: true } : {}),
    },
  });
  print(flags['json'] === true ? resolveJson(resolution) : resolveText(resolution));
  return resolution.choices.every(({ digest }) => digest !== undefined) ? 0 : 1;
}

export function resolveJson(resolution: Resolution): string {
  return `${JSON.stringify(resolution, undefined, 2)}\n`;
}

/** The image as a tree: index, manifests, and the config and layers of each cached manifest. */
export function resolveText({ image, source, root, choices, cost, before }: Resolution): string {
  const rows = [['WHAT', 'DIGEST', 'SIZE', 'CACHE', 'FOR'], ...rowsOf(root, '')];
  const missing = choices
    .filter(({ digest }) => digest === undefined)
    .map(({ platform, why, failure = 'no manifest' }) => `${platform}, ${why}: ${failure}\n`);
  const moved = before === undefined ? '' : `before the tag moved: ${before}, cached\n`;
  return `${image}, ${source}\n${table(rows)}${missing.join('')}${moved}${costText(cost)}`;
}

function costText({ pulls, isAtLeast, remaining }: Resolution['cost']): string {
  if (pulls === 0) return '';
  const left = remaining === undefined ? '' : ` of ${remaining} left`;
  return `--fetch downloads missing manifests: ${isAtLeast ? 'at least ' : ''}${counted(pulls, 'pull')}${left}\n`;
}

const INDENT = '  ';

function rowsOf(manifest: ResolvedManifest, indent: string): string[][] {
  const { entries = [], moreEntries = 0, config, layers = [] } = manifest;
  const below = `${indent}${INDENT}`;
  return [
    [
      `${indent}${nameOf(manifest)}`,
      manifest.digest,
      humanBytes(manifest.size),
      cacheOf(manifest),
      manifest.chosenFor.join('; '),
    ],
    ...(config === undefined ? [] : [partRow(`${below}config`, config)]),
    ...layers.map((layer) => partRow(`${below}layer`, layer, cacheOfLayer(layer))),
    ...entries.flatMap((entry) => rowsOf(entry, below)),
    ...(moreEntries === 0 ? [] : [[`${below}and ${counted(moreEntries, 'entry', 'entries')} more`]]),
  ];
}

function partRow(name: string, part: ResolvedPart, cache = part.isCached ? 'cached' : 'missing'): string[] {
  return [name, part.digest, humanBytes(part.size), cache, ''];
}

function cacheOfLayer({ isCached, isForeign }: ResolvedLayer): string {
  if (isCached) return 'cached';
  return isForeign ? 'foreign' : 'missing';
}

function nameOf({ platform, attests, entries, mediaType }: ResolvedManifest): string {
  if (attests !== undefined) return `attestation of ${attests.slice(7, 19)}`;
  if (entries !== undefined) return 'index';
  return platform ?? (mediaType.includes('.index.') || mediaType.includes('.list.') ? 'index' : 'manifest');
}

function cacheOf({ state, config, layers = [], failure }: ResolvedManifest): string {
  if (failure !== undefined) return `missing: ${failure}`;
  if (state !== 'partial' || config === undefined) return state;
  const needed = [config, ...layers.filter(({ isForeign }) => !isForeign)];
  const missing = needed.filter((part) => !part.isCached).length;
  return missing === 0
    ? 'partial: attestation missing'
    : `partial: ${missing} of ${counted(needed.length, 'blob')} missing`;
}
