import { DOCKER_HUB } from '../oci/reference.ts';
import type { Raw } from './fields.ts';
import { nearestName } from './nearest.ts';
import { SETTINGS, UPSTREAM_SETTINGS } from './schema.ts';
import type { Setting } from './setting.ts';

/** Where a value comes from. `path` is as the user named the file; lines count from 1. */
export type Source =
  | { readonly kind: 'default' }
  | { readonly kind: 'file'; readonly path: string; readonly line: number }
  | { readonly kind: 'env'; readonly name: string }
  | { readonly kind: 'flag'; readonly name: string };

/** One source says that one setting has a value, not checked yet. */
export interface Assignment {
  /** The setting's name for people: `tagTtl`, `upstreams.docker.io.url`. */
  readonly id: string;
  readonly setting: Setting;
  /** Of the upstream that the setting belongs to. */
  readonly host?: string;
  /** Within the upstream, or at the top. */
  readonly key: string;
  readonly raw: Raw;
  readonly source: Source;
}

/** A place for a value. */
export type Slot = Omit<Assignment, 'raw' | 'source'>;

const TOP = new Map<string, Setting>(Object.entries(SETTINGS));
const UPSTREAM = new Map<string, Setting>(Object.entries(UPSTREAM_SETTINGS));

/** The place of a value at the top, or undefined if there is no such key. */
export function settingSlot(key: string): Slot | undefined {
  const setting = TOP.get(key);
  return setting === undefined ? undefined : { id: key, key, setting };
}

/** The place of a value within an upstream, or undefined if there is no such key. */
export function upstreamSlot(host: string, key: string): Slot | undefined {
  const setting = UPSTREAM.get(key);
  return setting === undefined ? undefined : { id: `upstreams.${host}.${key}`, host, key, setting };
}

/** All places that the environment, flags and defaults can fill: the top ones and those of `docker.io`. */
export const SLOTS: readonly Slot[] = [
  ...[...TOP.keys()].map((key) => settingSlot(key)),
  ...[...UPSTREAM.keys()].map((key) => upstreamSlot(DOCKER_HUB, key)),
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

export type Environment = Readonly<Record<string, string | undefined>>;

/** The variable that names the settings file. */
export const CONFIG_ENV = 'PIERHEAD_CONFIG';

/** An empty variable counts as not set. */
export function fromEnvironment(env: Environment): Assignment[] {
  return SLOTS.flatMap((slot) => {
    const name = slot.setting.env;
    const raw = env[name] ?? '';
    return raw === '' ? [] : [{ ...slot, raw, source: { kind: 'env', name } as const }];
  });
}

/** What Kubernetes injects for a service called `pierhead…`. */
const INJECTED = /_PORT$|_PORT_|_SERVICE_/;

/** A sentence for each variable that looks like a setting and is none. */
export function environmentWarnings(env: Environment): string[] {
  const known = [CONFIG_ENV, ...SLOTS.map((slot) => slot.setting.env)];
  return Object.keys(env)
    .filter((name) => name.startsWith('PIERHEAD_') && !known.includes(name) && !INJECTED.test(name))
    .sort()
    .map((name) => {
      const nearest = nearestName(name, known);
      return `${name} is an unknown variable${nearest === undefined ? '' : `; did you mean ${nearest}?`}`;
    });
}
