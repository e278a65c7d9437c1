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

/** A sentence for each two assignments that cannot stand together, and for each that lacks what belongs to it. */
export function contradictions(effective: Effective): string[] {
  return [...effective.values()].flatMap((assignment) => [
    ...excludedIds(assignment).flatMap((id) => {
      const other = effective.get(id);
      if (other === undefined || other.id < assignment.id) return [];
      return [`${named(assignment)}: cannot stand beside ${named(other)}; allowed: one of them`];
    }),
    ...missingHalf(assignment, effective),
    ...missingNeeds(assignment, effective),
  ]);
}

function missingHalf(assignment: Assignment, effective: Effective): string[] {
  const { key, setting } = assignment;
  const has = (other: string): boolean => effective.has(idBeside(assignment, other));
  const lacks =
    key === 'username'
      ? !has('password') && !has('passwordFile')
      : (key === 'password' || key === 'passwordFile') && !has('username');
  return lacks ? [`${named(assignment)}: is only half; allowed: ${setting.allowed}`] : [];
}

function missingNeeds(assignment: Assignment, effective: Effective): string[] {
  const { needs } = assignment.setting;
  if (needs === undefined || needs.some((key) => effective.has(idBeside(assignment, key)))) return [];
  return [`${named(assignment)}: stands alone; allowed: together with ${needs.join(' or ')}`];
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
