import { MASK, redactUrl } from './addresses.ts';
import type { Raw } from './fields.ts';
import { SETTINGS } from './schema.ts';
import type { Effective, Assignment, Source } from './sources.ts';

/** A setting in force, in the units of its source, with absolute paths and masked secrets. */
export interface ShownSetting {
  /** `tagTtl`, `upstreams.docker.io.url`. */
  readonly key: string;
  /** Undefined: not set. */
  readonly value?: string | readonly string[];
  readonly source: Source;
}

/** All keys at the top, then the set keys of upstreams and lists, in the order of the tables. The assignments must be valid. */
export function shownSettings(effective: Effective): ShownSetting[] {
  const top = Object.keys(SETTINGS).map((key): ShownSetting => {
    const assignment = effective.get(key);
    return assignment === undefined ? { key, source: { kind: 'default' } } : shown(assignment);
  });
  const maps = new Map([...effective.values()].map(({ map }) => [map.id, map]));
  maps.delete('');
  const others = [...maps.values()].flatMap(({ id, table }) =>
    Object.keys(table).flatMap((key) => effective.get(`${id}.${key}`) ?? []),
  );
  return [...top, ...others.map(shown)];
}

/** The place of a top setting in messages: the flag, variable or line that set it, else its variable. */
export function placeOf(settings: readonly ShownSetting[], key: keyof typeof SETTINGS): string {
  const source = settings.find((each) => each.key === key)?.source ?? { kind: 'default' };
  if (source.kind === 'default') return SETTINGS[key].env;
  return source.kind === 'file' ? `${source.path}:${source.line}` : source.name;
}

function shown(assignment: Assignment): ShownSetting {
  return { key: assignment.id, value: shownValue(assignment), source: assignment.source };
}

function shownValue({ raw, setting }: Assignment): string | readonly string[] {
  if (setting.holds === 'secret') return MASK;
  const value = setting.schema.parse(raw);
  if (typeof value === 'string') return setting.holds === 'url' ? redactUrl(value) : value;
  // A parsed list of objects would be hard to read: show it as it was written.
  if (Array.isArray(value)) return value.every((item) => typeof item === 'string') ? value : textsOf(raw);
  if (typeof value === 'boolean') return String(value);
  return String(raw).trim();
}

function textsOf(raw: Raw): readonly string[] {
  const texts = typeof raw === 'string' ? raw.split(',') : raw;
  return texts.map((text) => text.trim());
}
