import { z } from 'zod';
import { ACCOUNT_SETTINGS } from './access.ts';
import type { Raw, Setting } from './fields.ts';
import { CLIENT_SETTINGS, SETTINGS } from './schema.ts';
import {
  type Effective,
  accountPlace,
  clientPlace,
  formatSource,
  identityPlace,
  settingSlot,
  slotIn,
  upstreamPlace,
  type Place,
  type Slot,
  type Source,
} from './sources.ts';
import { IDENTITY_SETTINGS, UPSTREAM_SETTINGS } from './upstreams.ts';

type Schemas<T extends Readonly<Record<string, Setting>>> = { -readonly [K in keyof T]: T[K]['schema'] };

function schemasOf<const T extends Readonly<Record<string, Setting>>>(table: T): Schemas<T> {
  return Object.fromEntries(Object.entries(table).map(([key, { schema }]) => [key, schema])) as Schemas<T>;
}

const VALUES = z.object({
  ...schemasOf(SETTINGS),
  clients: z.array(z.object(schemasOf(CLIENT_SETTINGS))).default([]),
  accounts: z.array(z.object(schemasOf(ACCOUNT_SETTINGS))).default([]),
  upstreams: z.record(
    z.string(),
    z.object({
      ...schemasOf(UPSTREAM_SETTINGS),
      identities: z.array(z.object(schemasOf(IDENTITY_SETTINGS))).default([]),
    }),
  ),
});

/** The values of all settings, in the units of their schemas. */
export type Values = z.output<typeof VALUES>;

export type Validation =
  | { readonly ok: true; readonly values: Values }
  /** One sentence for each problem. No sentence quotes a secret. */
  | { readonly ok: false; readonly problems: readonly string[] };

/** A map, and the source that names it. */
export interface NamedMap {
  readonly map: Place;
  readonly source: Source;
}

/** Checks the assignments by the tables. `maps`: all upstreams and items of lists, empty ones too. */
export function validate(effective: Effective, maps: readonly NamedMap[]): Validation {
  const result = VALUES.safeParse(rawValues(effective, maps));
  if (result.success) return { ok: true, values: result.data };
  return { ok: false, problems: result.error.issues.map((issue) => problem(issue, effective, maps)) };
}

type RawTree = { [key: string]: RawTree | RawTree[] | Raw };

function rawValues(effective: Effective, maps: readonly NamedMap[]): RawTree {
  const top: RawTree = {};
  for (const { map } of maps) mapAt(top, map.path);
  for (const { map, key, raw } of effective.values()) mapAt(top, map.path)[key] = raw;
  return top;
}

/** The map at `path` below `top`. Missing maps and lists on the way are made. */
function mapAt(top: RawTree, path: Place['path']): RawTree {
  let map = top;
  for (const [at, step] of path.entries()) {
    if (typeof step === 'number') continue;
    const index = path[at + 1];
    const known = Object.hasOwn(map, step) ? map[step] : undefined;
    if (typeof index === 'number') {
      const list = isTreeList(known) ? known : [];
      map[step] = list;
      map = list[index] ??= {};
    } else {
      const next: RawTree = isTree(known) ? known : Object.create(null);
      map[step] = next;
      map = next;
    }
  }
  return map;
}

function isTree(value: RawTree[string] | undefined): value is RawTree {
  return typeof value === 'object' && !Array.isArray(value);
}

function isTreeList(value: RawTree[string] | undefined): value is RawTree[] {
  return Array.isArray(value) && value.every((item) => typeof item === 'object');
}

function problem(issue: z.core.$ZodIssue, effective: Effective, maps: readonly NamedMap[]): string {
  const slot = slotAt(issue.path);
  if (slot === undefined) throw new Error(`no setting at ${issue.path.join('.')}`);
  const source = effective.get(slot.id)?.source ??
    maps.find(({ map }) => map.id === slot.map.id)?.source ?? { kind: 'default' };
  return `${slot.id} (${formatSource(source)}): ${issue.message}; allowed: ${slot.setting.allowed}`;
}

/** The rest of a path, after the key, counts the values of a list. */
function slotAt(path: readonly PropertyKey[]): Slot | undefined {
  const [first = '', second = '', third = '', fourth, fifth = ''] = path;
  if (first === 'clients') return slotIn(clientPlace(Number(second)), String(third));
  if (first === 'accounts') return slotIn(accountPlace(Number(second)), String(third));
  if (first !== 'upstreams') return settingSlot(String(first));
  const upstream = upstreamPlace(String(second));
  if (third !== 'identities') return slotIn(upstream, String(third));
  return slotIn(identityPlace(upstream, Number(fourth)), String(fifth));
}
