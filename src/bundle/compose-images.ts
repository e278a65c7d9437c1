import { interpolate, UnsetVariableError } from './interpolation.ts';
import type { NeededImages, ServiceChoice } from './needed-images.ts';
import type { YamlNode } from './yaml-tree.ts';

/** `docker compose` pulls nothing for services with these (compose-spec, "pull_policy"). */
const NEVER_PULLED: ReadonlySet<string> = new Set(['never', 'build']);

/** Services that extend services: nobody goes deeper. */
const MAX_EXTENDS = 20;

export interface ComposeOptions {
  readonly variables: (name: string) => string | undefined;
  /** Undefined: all of them. */
  readonly service: ServiceChoice | undefined;
}

/**
 * The images of the services of a Compose file (compose-spec, "Services top-level elements"), for the platform that a
 * service names. What is built is not pulled; its Dockerfile is another file.
 */
export function composeImages(document: YamlNode, options: ComposeOptions, needed: NeededImages): void {
  const file = new ComposeFile(document, options.variables, needed);
  if (options.service === undefined) file.addAll();
  else file.addOne(options.service);
}

class ComposeFile {
  readonly #document: YamlNode;
  readonly #services: ReadonlyMap<string, YamlNode>;
  readonly #variables: (name: string) => string | undefined;
  readonly #needed: NeededImages;

  constructor(document: YamlNode, variables: (name: string) => string | undefined, needed: NeededImages) {
    this.#document = document;
    this.#services = new Map(document.get('services')?.entries);
    this.#variables = variables;
    this.#needed = needed;
  }

  addAll(): void {
    const include = this.#document.get('include');
    for (const item of include?.items ?? []) {
      this.#understand('include', item, () => this.#include(item));
    }
    for (const [name, service] of this.#services) {
      this.#understand(name, service.get('image') ?? service, () => this.#add(name, service));
    }
  }

  addOne({ name, platform }: ServiceChoice): void {
    const service = this.#services.get(name);
    if (service === undefined) this.#needed.problem(this.#document.line, `there is no service ${name}`);
    else this.#understand(name, service.get('image') ?? service, () => this.#add(name, service, platform));
  }

  #include(item: YamlNode): void {
    if (item.get('env_file') !== undefined) {
      this.#needed.problem(item.line, 'the env_file of what it includes is not looked into');
    }
    const path = item.get('path') ?? item;
    for (const each of path.items.length === 0 ? [path] : path.items) {
      if (each.text !== undefined) this.#needed.goesOn(each.line, this.#spelt(each.text));
    }
  }

  /** `platform`: whoever extends it says so. */
  #add(name: string, service: YamlNode, platform?: string, depth = MAX_EXTENDS): void {
    const own = service.get('platform')?.text;
    const wanted = platform ?? (own === undefined ? undefined : this.#spelt(own));
    this.#addVolumes(service, wanted);
    const image = service.get('image');
    const build = service.get('build');
    const inline = build?.get('dockerfile_inline');
    if (inline !== undefined) {
      const what = `what ${name} is built from is not looked into: name that in a list, too`;
      this.#needed.problem(inline.line, what);
    }
    const policy = service.get('pull_policy')?.text;
    if (build !== undefined || (policy !== undefined && NEVER_PULLED.has(this.#spelt(policy)))) return;
    if (image?.text === undefined) return this.#extended(service, wanted, depth);
    this.#needed.add(image.line, this.#spelt(image.text), wanted === '' ? undefined : wanted);
  }

  /** Images can be mounted as well as run. */
  #addVolumes(service: YamlNode, platform: string | undefined): void {
    for (const volume of service.get('volumes')?.items ?? []) {
      const source = volume.get('source');
      if (volume.get('type')?.text !== 'image' || source?.text === undefined) continue;
      this.#needed.add(source.line, this.#spelt(source.text), platform === '' ? undefined : platform);
    }
  }

  /** What has no image of its own has that of what it extends. */
  #extended(service: YamlNode, platform: string | undefined, depth: number): void {
    const base = service.get('extends');
    const name = (base?.get('service') ?? base)?.text;
    const file = base?.get('file')?.text;
    if (base === undefined || name === undefined || depth === 0) return;
    if (file !== undefined) return this.#needed.goesOn(base.line, this.#spelt(file), { name, platform });
    const other = this.#services.get(name);
    if (other !== undefined) this.#add(name, other, platform, depth - 1);
  }

  #understand(name: string, { line }: YamlNode, read: () => void): void {
    try {
      read();
    } catch (error) {
      if (!(error instanceof UnsetVariableError)) throw error;
      this.#needed.problem(line, `${name}: ${error.message}`);
    }
  }

  #spelt(text: string): string {
    return interpolate(text, { variables: this.#variables, escape: '$$' });
  }
}
