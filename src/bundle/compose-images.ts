import { interpolate, UnsetVariableError } from './interpolation.ts';
import type { NeededImages } from './needed-images.ts';
import type { YamlNode } from './yaml-tree.ts';

/** `docker compose` pulls nothing for services with these (compose-spec, "pull_policy"). */
const NEVER_PULLED: ReadonlySet<string> = new Set(['never', 'build']);

/**
 * The images of the services of a Compose file (compose-spec, "Services top-level elements"), for the platform that a
 * service names. What is built is not pulled; its Dockerfile is another file.
 */
export function composeImages(
  document: YamlNode,
  variables: (name: string) => string | undefined,
  needed: NeededImages,
): void {
  const include = document.get('include');
  if (include !== undefined)
    needed.problem(include.line, 'what it includes is not looked into: name that, too');
  for (const [name, service] of document.get('services')?.entries ?? []) {
    const extended = service.at('extends', 'file');
    if (extended !== undefined) {
      needed.problem(extended.line, `what ${name} extends is not looked into: name that, too`);
    }
    const inline = service.at('build', 'dockerfile_inline');
    if (inline !== undefined) {
      needed.problem(inline.line, `what ${name} is built from is not looked into: name that in a list, too`);
    }
    try {
      addService(service, (text) => interpolate(text, { variables, escape: '$$' }), needed);
    } catch (error) {
      if (!(error instanceof UnsetVariableError)) throw error;
      needed.problem(service.get('image')?.line ?? service.line, `${name}: ${error.message}`);
    }
  }
}

function addService(service: YamlNode, spelt: (text: string) => string, needed: NeededImages): void {
  const image = service.get('image');
  if (image?.text === undefined || service.get('build') !== undefined) return;
  const policy = service.get('pull_policy')?.text;
  if (policy !== undefined && NEVER_PULLED.has(spelt(policy))) return;
  const platform = service.get('platform')?.text;
  const wanted = platform === undefined ? undefined : spelt(platform);
  needed.add(image.line, spelt(image.text), wanted === '' ? undefined : wanted);
}
