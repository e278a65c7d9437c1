import { DOCKER_HUB } from '../oci/reference.ts';
import { ACCOUNT_SETTINGS } from './access.ts';
import type { Raw, Setting } from './fields.ts';
import { CLIENT_SETTINGS, SETTINGS } from './schema.ts';
import { IDENTITY_SETTINGS, UPSTREAM_SETTINGS } from './upstreams.ts';

/**
 * The name of `known` that is nearest to `text`, for a hint after a typing error. Undefined if more than a third of the
 * letters differ. Case, dashes and underscores do not count.
 */
export function nearestName(text: string, known: readonly string[]): string | undefined {
  const wanted = plain(text);
  let best: { readonly name: string; readonly distance: number } | undefined;
  for (const name of known) {
    const distance = editDistance(wanted, plain(name));
    if (distance < (best?.distance ?? Infinity)) best = { name, distance };
  }
  return best !== undefined && best.distance <= Math.max(2, wanted.length / 3) ? best.name : undefined;
}

function plain(name: string): string {
  return name.toLowerCase().replaceAll(/[-_]/g, '');
}

/** The Levenshtein distance: the least number of insertions, deletions and replacements. */
function editDistance(from: string, to: string): number {
  let row = Array.from({ length: to.length + 1 }, (_, index) => index);
  for (let i = 0; i < from.length; i += 1) {
    const next = [i + 1];
    for (let j = 0; j < to.length; j += 1) {
      const replaced = (row[j] ?? 0) + (from[i] === to[j] ? 0 : 1);
      next.push(Math.min(replaced, (row[j + 1] ?? 0) + 1, (next[j] ?? 0) + 1));
    }
    row = next;
  }
  return row.at(-1) ?? 0;
}

/** Where a value comes from. `path` is the file as the user named it. Lines count from 1. */
export type Source =
  | { readonly kind: 'default' }
  | { readonly kind: 'file'; readonly path: string; readonly line: number }
  | { readonly kind: 'env'; readonly name: string }
  | { readonly kind: 'flag'; readonly name: string };

/** The value that one source gives to one setting, before validation. */
export interface Assignment {
  /** Name of the setting in messages: `tagTtl`, `upstreams.docker.io.url`, `clients[0].network`. */
  readonly id: string;
  readonly setting: Setting;
  readonly map: Place;
  readonly key: string;
  readonly raw: Raw;
  readonly source: Source;
}

/** A setting and its place, without a value. */
export type Slot = Omit<Assignment, 'raw' | 'source'>;

/** A map of keys to values: the top, an upstream, or an item of a list of maps. */
export interface Place {
  /** In messages: `upstreams.docker.io`, `clients[0]`; empty at the top. */
  readonly id: string;
  /** From the top: names of maps and indexes of lists. */
  readonly path: readonly (string | number)[];
  readonly table: Readonly<Record<string, Setting>>;
}

const TOP: Place = { id: '', path: [], table: SETTINGS };

export function upstreamPlace(host: string): Place {
  return { id: `upstreams.${host}`, path: ['upstreams', host], table: UPSTREAM_SETTINGS };
}

/** Only a settings file can fill the items of lists. */
export function clientPlace(index: number): Place {
  return { id: `clients[${index}]`, path: ['clients', index], table: CLIENT_SETTINGS };
}

export function accountPlace(index: number): Place {
  return { id: `accounts[${index}]`, path: ['accounts', index], table: ACCOUNT_SETTINGS };
}

export function identityPlace(upstream: Place, index: number): Place {
  return {
    id: `${upstream.id}.identities[${index}]`,
    path: [...upstream.path, 'identities', index],
    table: IDENTITY_SETTINGS,
  };
}

/** The slot of a key within a map, or undefined if the table has no such key. */
export function slotIn(map: Place, key: string): Slot | undefined {
  const setting = Object.hasOwn(map.table, key) ? map.table[key] : undefined;
  if (setting === undefined) return undefined;
  return { id: map.id === '' ? key : `${map.id}.${key}`, map, key, setting };
}

/** The slot of a key at the top, or undefined if there is no such setting. */
export function settingSlot(key: string): Slot | undefined {
  return slotIn(TOP, key);
}

/** All slots that defaults, environment and flags can fill: at the top and of `docker.io`. */
export const SLOTS: readonly Slot[] = [
  ...Object.keys(SETTINGS).map((key) => settingSlot(key)),
  ...Object.keys(UPSTREAM_SETTINGS).map((key) => slotIn(upstreamPlace(DOCKER_HUB), key)),
].filter((slot) => slot !== undefined);

/** `default`, `file pierhead.yaml:12`, `env PIERHEAD_LISTEN`, `flag --listen`. */
export function formatSource(source: Source): string {
  if (source.kind === 'default') return 'default';
  return source.kind === 'file' ? `file ${source.path}:${source.line}` : `${source.kind} ${source.name}`;
}

export function fromDefaults(): Assignment[] {
  return SLOTS.flatMap((slot) =>
    slot.setting.default === undefined
      ? []
      : [{ ...slot, raw: slot.setting.default, source: { kind: 'default' } as const }],
  );
}

/** The default `url` of other registries: `https://` and the host. `maps`: those of the settings file. */
export function fromHosts(maps: readonly { readonly map: Place }[]): Assignment[] {
  return maps.flatMap(({ map }) => {
    const [first, host] = map.path;
    const url = first === 'upstreams' && map.path.length === 2 ? slotIn(map, 'url') : undefined;
    if (url === undefined || host === DOCKER_HUB) return [];
    return [{ ...url, raw: `https://${host}`, source: { kind: 'default' } as const }];
  });
}

export type Environment = Readonly<Record<string, string | undefined>>;

/** The variable that names the settings file. */
export const CONFIG_ENV = 'PIERHEAD_CONFIG';

/** An empty variable counts as not set. */
export function fromEnvironment(env: Environment): Assignment[] {
  return SLOTS.flatMap((slot) => {
    const name = slot.setting.env ?? '';
    const raw = env[name] ?? '';
    return raw === '' ? [] : [{ ...slot, raw, source: { kind: 'env', name } as const }];
  });
}

/** Variables that Kubernetes injects for a service called `pierhead…`. */
const INJECTED = /_PORT$|_PORT_|_SERVICE_/;

/** A sentence for each variable that begins with `PIERHEAD_` and is no setting. */
export function environmentWarnings(env: Environment): string[] {
  const known = [CONFIG_ENV, ...SLOTS.flatMap((slot) => slot.setting.env ?? [])];
  return Object.keys(env)
    .filter((name) => name.startsWith('PIERHEAD_') && !known.includes(name) && !INJECTED.test(name))
    .sort()
    .map((name) => {
      const nearest = nearestName(name, known);
      return `${name} is an unknown variable${nearest === undefined ? '' : `; did you mean ${nearest}?`}`;
    });
}

/** The assignments in force, by id. */
export type Effective = Map<string, Assignment>;

/**
 * Lays the layers over each other, the weakest first. A layer that sets a key also removes the keys that this key
 * excludes from weaker layers. So a token from the environment replaces user name and password from the file.
 */
export function overlay(layers: readonly (readonly Assignment[])[]): Effective {
  const effective: Effective = new Map();
  for (const layer of layers) {
    for (const id of layer.flatMap(excludedIds)) effective.delete(id);
    for (const assignment of layer) effective.set(assignment.id, assignment);
  }
  return effective;
}

/** A sentence for each two assignments that exclude each other, and for each that lacks a key which it needs. */
export function contradictions(effective: Effective): string[] {
  return [...effective.values()].flatMap((assignment) => [
    ...excludedIds(assignment).flatMap((id) => {
      const other = effective.get(id);
      if (other === undefined || other.id < assignment.id) return [];
      return [`${named(assignment)}: excludes ${named(other)}; set only one of them`];
    }),
    ...missingNeeds(assignment, effective),
  ]);
}

function missingNeeds(assignment: Assignment, effective: Effective): string[] {
  const { needs } = assignment.setting;
  if (needs === undefined || needs.some((key) => effective.has(idBeside(assignment, key)))) return [];
  return [`${named(assignment)}: needs ${needs.join(' or ')}; set that as well`];
}

function excludedIds(assignment: Assignment): string[] {
  return (assignment.setting.excludes ?? []).map((key) => idBeside(assignment, key));
}

/** The id of another key of the same map. */
function idBeside({ map }: Assignment, key: string): string {
  return map.id === '' ? key : `${map.id}.${key}`;
}

function named({ id, source }: Assignment): string {
  return `${id} (${formatSource(source)})`;
}
