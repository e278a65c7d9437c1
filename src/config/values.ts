import { z } from 'zod';
import type { Raw } from './fields.ts';
import type { Effective } from './overlay.ts';
import { SETTINGS, UPSTREAM_SETTINGS } from './schema.ts';
import type { Setting } from './setting.ts';
import { formatSource, settingSlot, upstreamSlot, type Source } from './sources.ts';

type Schemas<T extends Readonly<Record<string, Setting>>> = { -readonly [K in keyof T]: T[K]['schema'] };

function schemasOf<const T extends Readonly<Record<string, Setting>>>(table: T): Schemas<T> {
  return Object.fromEntries(Object.entries(table).map(([key, { schema }]) => [key, schema])) as Schemas<T>;
}

const VALUES = z.object({
  ...schemasOf(SETTINGS),
  upstreams: z.record(z.string(), z.object(schemasOf(UPSTREAM_SETTINGS))),
});

/** The values of all settings by key, in the units of their schemas. */
export type Values = z.output<typeof VALUES>;

export type Validation =
  | { readonly ok: true; readonly values: Values }
  /** A sentence each; no secret is quoted. */
  | { readonly ok: false; readonly problems: readonly string[] };

/** Checks the assignments by the tables. `hosts`: the upstreams there are, and where each is named. */
export function validate(effective: Effective, hosts: ReadonlyMap<string, Source>): Validation {
  const result = VALUES.safeParse(rawValues(effective, hosts));
  if (result.success) return { ok: true, values: result.data };
  return { ok: false, problems: result.error.issues.map((issue) => problem(issue, effective, hosts)) };
}

function rawValues(effective: Effective, hosts: ReadonlyMap<string, Source>): unknown {
  const top: Record<string, Raw> = {};
  const upstreams = new Map<string, Record<string, Raw>>([...hosts.keys()].map((host) => [host, {}]));
  for (const { host, key, raw } of effective.values()) {
    const target = host === undefined ? top : upstreams.get(host);
    if (target !== undefined) target[key] = raw;
  }
  return { ...top, upstreams: Object.fromEntries(upstreams) };
}

function problem(issue: z.core.$ZodIssue, effective: Effective, hosts: ReadonlyMap<string, Source>): string {
  const [first, host, key] = issue.path.map(String);
  const ofUpstream = first === 'upstreams' && host !== undefined && key !== undefined;
  const slot = ofUpstream ? upstreamSlot(host, key) : settingSlot(first ?? '');
  if (slot === undefined) throw new Error(`no setting at ${issue.path.join('.')}`);
  const source = effective.get(slot.id)?.source ??
    (ofUpstream ? hosts.get(host) : undefined) ?? { kind: 'default' };
  return `${slot.id} (${formatSource(source)}): ${issue.message}; allowed: ${slot.setting.allowed}`;
}
