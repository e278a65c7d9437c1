import { interpolate, InterpolationError } from './interpolation.ts';
import { quoted, type NeededImages, type ServiceChoice, type SourceContext } from './needed.ts';
import type { YamlNode } from './yaml-tree.ts';

/** `docker compose` pulls nothing for services with these (compose-spec, "pull_policy"). */
const NEVER_PULLED: ReadonlySet<string> = new Set(['never', 'build']);

/** A build context that is an image (compose-spec, "additional_contexts"). */
const IMAGE_CONTEXT = 'docker-image://';

/** Longest chain of `extends`. */
const MAX_EXTENDS = 20;

export interface ComposeOptions extends Pick<SourceContext, 'variables' | 'folder'> {
  /** Undefined: all services. */
  readonly service?: ServiceChoice | undefined;
}

/**
 * The images of the services of a Compose file (compose-spec, "Services top-level elements"), for the platform that a
 * service names. Compose does not pull the image of a service with `build`.
 */
export function composeImages(document: YamlNode, options: ComposeOptions, needed: NeededImages): void {
  const file = new ComposeFile(document, options, needed);
  if (options.service === undefined) file.addAll();
  else file.addOne(options.service);
}

class ComposeFile {
  readonly #document: YamlNode;
  readonly #services: ReadonlyMap<string, YamlNode>;
  readonly #options: ComposeOptions;
  readonly #needed: NeededImages;

  constructor(document: YamlNode, options: ComposeOptions, needed: NeededImages) {
    this.#document = document;
    this.#services = new Map(document.get('services')?.entries);
    this.#options = options;
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
    if (service === undefined) this.#needed.problem(this.#document.line, `no service ${quoted(name)}`);
    else this.#understand(name, service.get('image') ?? service, () => this.#add(name, service, platform));
  }

  #include(item: YamlNode): void {
    if (item.get('env_file') !== undefined) {
      this.#needed.problem(item.line, 'env_file of include is not read');
    }
    const path = item.get('path') ?? item;
    for (const each of path.items.length === 0 ? [path] : path.items) {
      if (each.text !== undefined) this.#needed.addFile(each.line, this.#spelt(each.text).text);
    }
  }

  /** `platform`: that of the service that extends this one, if it has one. */
  #add(name: string, service: YamlNode, platform?: string, depth = MAX_EXTENDS): void {
    const own = service.get('platform')?.text;
    const wanted = platform ?? (own === undefined ? undefined : this.#spelt(own).text);
    this.#addVolumes(service, wanted);
    this.#noteLikenesses(name, service);
    const image = service.get('image');
    const build = service.get('build');
    if (build !== undefined) this.#addBuild(name, build, wanted);
    const policy = service.get('pull_policy')?.text;
    if (build !== undefined || (policy !== undefined && NEVER_PULLED.has(this.#spelt(policy).text))) return;
    if (image?.text === undefined) return this.#extended(service, wanted, depth);
    this.#addImage(image, wanted);
  }

  #addImage(node: YamlNode, platform: string | undefined, spelling = node.text ?? ''): void {
    const { text, unset } = this.#spelt(spelling);
    this.#needed.add(node.line, text, { platform: platform === '' ? undefined : platform, unset });
  }

  /** A volume of type `image` mounts an image. */
  #addVolumes(service: YamlNode, platform: string | undefined): void {
    for (const volume of service.get('volumes')?.items ?? []) {
      const source = volume.get('source');
      if (volume.get('type')?.text === 'image' && source?.text !== undefined)
        this.#addImage(source, platform);
    }
  }

  /** The images that a build pulls besides those of its Dockerfile. */
  #addBuild(name: string, build: YamlNode, platform: string | undefined): void {
    const inline = build.get('dockerfile_inline');
    if (inline !== undefined) {
      this.#needed.problem(inline.line, `${name}: dockerfile_inline is not read; name its images in a list`);
    }
    const contexts = build.get('additional_contexts');
    const listed = contexts?.items.map((item) => [item, item.text?.replace(/^[^=]*=/, '')] as const) ?? [];
    const named = contexts?.entries.map(([, value]) => [value, value.text] as const) ?? [];
    for (const [node, text] of [...listed, ...named]) {
      const image = text?.startsWith(IMAGE_CONTEXT) === true ? text.slice(IMAGE_CONTEXT.length) : undefined;
      if (image !== undefined) this.#addImage(node, platform, image);
    }
    for (const cache of build.get('cache_from')?.items ?? []) {
      const image = cache.text?.replace(/^.*\bref=([^,]*).*$/, '$1');
      if (image !== undefined) {
        this.#needed.note(
          cache.line,
          `${name}: cache_from ${quoted(image)} is not checked: builds work without it`,
        );
      }
    }
    this.#needed.noteLikenesses(`${name}: build.args`, build.get('args')?.values);
  }

  /** Programs in containers pull images too; arguments and variables name these. */
  #noteLikenesses(name: string, service: YamlNode): void {
    for (const key of ['environment', 'command', 'labels'] as const) {
      this.#needed.noteLikenesses(`${name}: ${key}`, service.get(key)?.values);
    }
  }

  /** A service without an image has the image of the service that it extends. */
  #extended(service: YamlNode, platform: string | undefined, depth: number): void {
    const base = service.get('extends');
    const name = (base?.get('service') ?? base)?.text;
    const file = base?.get('file')?.text;
    if (base === undefined || name === undefined || depth === 0) return;
    if (file !== undefined) {
      this.#needed.addFile(base.line, this.#spelt(file).text, { service: { name, platform } });
      return;
    }
    const other = this.#services.get(name);
    if (other !== undefined) this.#add(name, other, platform, depth - 1);
  }

  #understand(name: string, { line }: YamlNode, read: () => void): void {
    try {
      read();
    } catch (error) {
      if (!(error instanceof InterpolationError)) throw error;
      this.#needed.problem(line, `${name}: ${error.message}`);
    }
  }

  /** Compose replaces an unset variable by nothing, and warns (compose-spec, "Interpolation"). */
  #spelt(text: string): { readonly text: string; readonly unset: readonly string[] } {
    const unset: string[] = [];
    const variables = (name: string): string | undefined => this.#options.variables(name) ?? this.#own(name);
    const onUnset = (name: string): void => void unset.push(name);
    return { text: interpolate(text, { variables, escape: '$$', onUnset }), unset };
  }

  /** Compose itself sets the name of the project (compose-spec, "Name top-level element"). */
  #own(name: string): string | undefined {
    if (name !== 'COMPOSE_PROJECT_NAME') return undefined;
    const own = this.#document.get('name')?.text;
    const project =
      own === undefined
        ? this.#options.folder
        : interpolate(own, { variables: this.#options.variables, escape: '$$' });
    return project
      .toLowerCase()
      .replaceAll(/[^a-z0-9_-]/g, '')
      .replace(/^[_-]+/, '');
  }
}
