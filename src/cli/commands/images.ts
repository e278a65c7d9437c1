import { readImages } from '../../app/app.ts';
import type { Flags } from '../../config/flags.ts';
import type { LoadedSettings } from '../../config/load.ts';
import { counted, humanAge, humanBytes } from '../../lib/text.ts';
import { formatFullName } from '../../oci/image-name.ts';
import { formatPlatform } from '../../oci/platform.ts';
import { parseRepositoryKey } from '../../oci/reference.ts';
import type { ImageEntry } from '../../store/images.ts';
import type { ExitCode } from '../exit.ts';
import { hasData } from '../operation.ts';
import { print, table } from '../print.ts';

/** Lists the cached images. It only reads the index, so it takes no lock and asks no server. */
export async function images(loaded: LoadedSettings, flags: Flags): Promise<ExitCode> {
  const { dataDir } = loaded.settings;
  const entries: ImageEntry[] = [];
  if (await hasData(dataDir)) for await (const entry of readImages(dataDir)) entries.push(entry);
  entries.sort(byName);
  print(flags['json'] === true ? imagesJson(entries) : imagesText(entries, Date.now()));
  return 0;
}

/** All entries, with those that are part of an index. */
export function imagesJson(entries: readonly ImageEntry[]): string {
  const all = entries.map(({ platform, pulledAt, ...entry }) => ({
    ...entry,
    platform: platform === undefined ? null : formatPlatform(platform),
    pulledAt: new Date(pulledAt).toISOString(),
  }));
  return `${JSON.stringify(all, undefined, 2)}\n`;
}

/** A line for each tag. Images without a tag have their digest, and are left out if they are part of an index. */
export function imagesText(entries: readonly ImageEntry[], nowMs: number): string {
  const shown = entries.filter(({ tags, indexes }) => tags.length > 0 || indexes.length === 0);
  const rows = shown.flatMap((entry) =>
    namesOf(entry).map(({ name, tag }) => [name, ...cells(entry, tag, nowMs)]),
  );
  if (rows.length === 0) return 'no image is cached\n';
  const parts = entries.length - shown.length;
  const hidden = parts === 0 ? '' : `${counted(parts, 'image')} of the indexes above: see --json\n`;
  return `${table([['IMAGE', 'DIGEST', 'PLATFORM', 'SIZE', 'PULLED', 'STATE'], ...rows])}${hidden}`;
}

function namesOf({ repository: key, tags, digest }: ImageEntry): { name: string; tag?: string }[] {
  const repository = parseRepositoryKey(key);
  if (tags.length === 0) return [{ name: formatFullName({ repository, digest }) }];
  return tags.map((tag) => ({ name: formatFullName({ repository, tag }), tag }));
}

function cells(entry: ImageEntry, tag: string | undefined, nowMs: number): string[] {
  const { digest, kind, platform, bytes, pulledAt, isPinned, before } = entry;
  const unknown = kind === 'index' ? 'index' : '-';
  const notes = [
    stateText(entry),
    ...before.filter((each) => each.tag === tag).map((each) => `before: ${shortDigest(each.digest)}, cached`),
    ...(isPinned ? ['pinned'] : []),
  ];
  return [
    shortDigest(digest),
    platform === undefined ? unknown : formatPlatform(platform),
    humanBytes(bytes),
    pulledAt === 0 ? '-' : humanAge(nowMs - pulledAt),
    notes.join('; '),
  ];
}

function stateText({ state, kind, missingBlobs, platforms }: ImageEntry): string {
  if (state === 'cached') return state;
  if (kind === 'image') return `${state}: ${counted(missingBlobs, 'blob')} missing`;
  const lacking = platforms.filter((each) => each.state !== 'cached');
  return lacking.length === 0 ? state : `${state}: ${lacking.map(lackText).join(', ')}`;
}

function lackText({ platform, missingBlobs, missingAttestations }: ImageEntry['platforms'][number]): string {
  const attestation = missingAttestations === 0 ? '' : ' (attestation)';
  return `${platform} lacks ${missingBlobs === 0 ? 'a manifest' : counted(missingBlobs, 'blob')}${attestation}`;
}

/** Twelve digits, as Docker shows. */
function shortDigest(digest: string): string {
  return digest.slice(0, digest.indexOf(':') + 13);
}

function byName(a: ImageEntry, b: ImageEntry): number {
  const [x, y] = [a, b].map(
    ({ repository, tags, digest }) => `${repository}\0${tags[0] ?? `\uffff${digest}`}`,
  );
  return (x ?? '') < (y ?? '') ? -1 : 1;
}
