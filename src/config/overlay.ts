import { formatSource, type Assignment } from './sources.ts';

/** The assignments in force, by id. */
export type Effective = Map<string, Assignment>;

/**
 * Layers laid over each other, the weakest first. A layer that sets a key also sets aside what weaker ones say in
 * another way, so that a token from the environment stands against user name and password from the file.
 */
export function overlay(layers: readonly (readonly Assignment[])[]): Effective {
  const effective: Effective = new Map();
  for (const layer of layers) {
    for (const id of layer.flatMap(excludedIds)) effective.delete(id);
    for (const assignment of layer) effective.set(assignment.id, assignment);
  }
  return effective;
}

/** A sentence for each two assignments that cannot stand together, and for each half of a user name and password. */
export function contradictions(effective: Effective): string[] {
  return [...effective.values()].flatMap((assignment) => [
    ...excludedIds(assignment).flatMap((id) => {
      const other = effective.get(id);
      if (other === undefined || other.id < assignment.id) return [];
      return [`${named(assignment)}: cannot stand beside ${named(other)}; allowed: one of them`];
    }),
    ...missingHalf(assignment, effective),
  ]);
}

function missingHalf(assignment: Assignment, effective: Effective): string[] {
  const { host, key, setting } = assignment;
  const has = (other: string): boolean => effective.has(`upstreams.${host}.${other}`);
  const lacks =
    key === 'username'
      ? !has('password') && !has('passwordFile')
      : (key === 'password' || key === 'passwordFile') && !has('username');
  return host !== undefined && lacks
    ? [`${named(assignment)}: is only half; allowed: ${setting.allowed}`]
    : [];
}

function excludedIds({ host, setting }: Assignment): string[] {
  return (setting.excludes ?? []).map((key) => (host === undefined ? key : `upstreams.${host}.${key}`));
}

function named({ id, source }: Assignment): string {
  return `${id} (${formatSource(source)})`;
}
