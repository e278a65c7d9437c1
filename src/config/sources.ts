import { DOCKER_HUB } from '../oci/reference.ts';
import { ACCOUNT_SETTINGS } from './access-schema.ts';
import type { Raw } from './fields.ts';
import { nearestName } from './nearest.ts';
import { CLIENT_SETTINGS, SETTINGS } from './schema.ts';
import { IDENTITY_SETTINGS, UPSTREAM_SETTINGS } from './upstream-schema.ts';
import type { Setting } from './setting.ts';

/** Where a value comes from. `path` is as the user named the file; lines count from 1. */
export type Source =
  | { readonly kind: 'default' }
  | { readonly kind: 'file'; readonly path: string; readonly line: number }
  | { readonly kind: 'env'; readonly name: string }
  | { readonly kind: 'flag'; readonly name: string };

/** One source says that one setting has a value, not checked yet. */
export interface Assignment {
  /** The setting's name for people: `tagTtl`, `upstreams.docker.io.url`, `clients[0].network`. */
  readonly id: string;
  readonly setting: Setting;
  readonly map: Place;
  /** Within its map. */
  readonly key: string;
  readonly raw: Raw;
  readonly source: Source;
}

/** Where a value belongs. */
export type Slot = Omit<Assignment, 'raw' | 'source'>;

/** A map of keys to values: the top, an upstream, or an item of a list of maps. */
export interface Place {
  /** For people: `upstreams.docker.io`, `clients[0]`; empty at the top. */
  readonly id: string;
  /** From the top: names of maps, and counts in lists. */
  readonly path: readonly (string | number)[];
  readonly table: Readonly<Record<string, Setting>>;
}

const TOP: Place = { id: '', path: [], table: SETTINGS };

export function upstreamPlace(host: string): Place {
  return { id: `upstreams.${host}`, path: ['upstreams', host], table: UPSTREAM_SETTINGS };
}

/** The lists of maps, which only a settings file can hold; `upstream` is the one whose `identities` they are. */
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

/** The place of a value within a map, or undefined if there is no such key. */
export function slotIn(map: Place, key: string): Slot | undefined {
  const setting = Object.hasOwn(map.table, key) ? map.table[key] : undefined;
  if (setting === undefined) return undefined;
  return { id: map.id === '' ? key : `${map.id}.${key}`, map, key, setting };
}

/** The place of a value at the top, or undefined if there is no such key. */
export function settingSlot(key: string): Slot | undefined {
  return slotIn(TOP, key);
}

/** All places that the environment, flags and defaults can fill: the top ones and those of `docker.io`. */
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

/** A registry is at `https://` and its own name, unless something else is said. `maps`: those that a file names. */
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

/** What Kubernetes injects for a service called `pierhead…`. */
const INJECTED = /_PORT$|_PORT_|_SERVICE_/;

/** A sentence for each variable that looks like a setting and is none. */
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
