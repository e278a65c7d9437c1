import { dockerfileLines, type Instruction } from './dockerfile-lines.ts';
import { interpolate, UnsetVariableError } from './interpolation.ts';
import type { NeededImages } from './needed-images.ts';

const FILE_NAME = /(?:^|[/\\])(?:Dockerfile|Containerfile)(?:\.[^/\\]*)?$|\.(?:Dockerfile|Containerfile)$/i;

/** Whether a file is a Dockerfile, by its name or by what it begins with. */
export function isDockerfile(path: string, text: string): boolean {
  const [first] = dockerfileLines(text).instructions;
  return (
    FILE_NAME.test(path) || (first !== undefined && /^(?:FROM|ARG)$/.test(first.name) && first.rest !== '')
  );
}

/** What BuildKit sets itself; whoever builds decides (Dockerfile reference, "Automatic platform ARGs"). */
const PLATFORM_ARG = /^(?:BUILD|TARGET)(?:PLATFORM|OS|ARCH|VARIANT)$/;

/**
 * The images that a build pulls: those of `FROM`, `COPY --from` and `RUN --mount=…,from=` that are no stages of it, and the
 * frontend that a `syntax` directive names. ARGs have their defaults.
 */
export function dockerfileImages(text: string, needed: NeededImages): void {
  const { directives, instructions } = dockerfileLines(text);
  const syntax = directives.get('syntax');
  if (syntax !== undefined) needed.add(1, syntax.split(/\s/)[0] ?? '');
  const build = new Build(needed);
  for (const instruction of instructions) build.take(instruction);
}

class Build {
  readonly #needed: NeededImages;
  /** The ARGs before the first FROM, which alone count in FROMs. */
  readonly #args = new Map<string, string>();
  readonly #stages = new Set<string>();
  #stageCount = 0;

  constructor(needed: NeededImages) {
    this.#needed = needed;
  }

  take(instruction: Instruction): void {
    const { name, rest, line } = instruction;
    try {
      if (name === 'ARG' && this.#stageCount === 0) this.#takeArgs(rest);
      else if (name === 'FROM') this.#takeFrom(rest, line);
      else if (name === 'COPY' || name === 'RUN') {
        for (const source of sourcesOf(instruction)) this.#takeSource(source, line);
      }
    } catch (error) {
      if (!(error instanceof UnsetVariableError)) throw error;
      this.#needed.problem(line, error.message);
    }
  }

  #takeArgs(rest: string): void {
    for (const [, name = '', value] of rest.matchAll(/([A-Za-z_]\w*)(?:=("[^"]*"|'[^']*'|\S*))?/g)) {
      if (value !== undefined) this.#args.set(name, this.#expand(unquoted(value)));
    }
  }

  #takeFrom(rest: string, line: number): void {
    const words = rest.split(/\s+/);
    const flags = words.filter((word) => word.startsWith('--'));
    const [source = '', as, stage] = words.filter((word) => !word.startsWith('--'));
    const isStage = (name: string): boolean => this.#stages.has(name.toLowerCase());
    this.#stageCount++;
    try {
      const name = this.#expand(unquoted(source));
      if (name !== 'scratch' && !isStage(name)) this.#needed.add(line, name, this.#platform(flags));
    } finally {
      if (as?.toLowerCase() === 'as' && stage !== undefined) this.#stages.add(stage.toLowerCase());
    }
  }

  /** Undefined: that of whoever builds, or for whom. */
  #platform(flags: readonly string[]): string | undefined {
    const flag = flags.find((each) => each.startsWith('--platform='));
    if (flag === undefined) return undefined;
    const text = unquoted(flag.slice('--platform='.length));
    const [, name = ''] = /^\$\{?(\w+)\}?$/.exec(text) ?? [];
    if (PLATFORM_ARG.test(name) && !this.#args.has(name)) return undefined;
    return this.#expand(text);
  }

  /** Stages go by name or number, those that come later too: whoever means an image of that name is not understood. */
  #takeSource(source: string, line: number): void {
    if (/^\d+$/.test(source) || this.#stages.has(source.toLowerCase()) || source === '') return;
    if (source.includes('$')) {
      this.#needed.problem(
        line,
        'a variable in from= is not expanded by builders; a stage of its own is needed',
      );
    } else if (source !== 'scratch') this.#needed.add(line, source);
  }

  #expand(text: string): string {
    return interpolate(text, { variables: (name) => this.#args.get(name), escape: '\\$' });
  }
}

/** What an instruction takes files from. */
function sourcesOf({ name, rest }: Instruction): string[] {
  // Flags stand before everything else; no name of an image has quotes.
  const flags = /^(?:--\S+\s+)*/.exec(`${rest} `)?.[0].replaceAll(/["']/g, '').split(/\s+/) ?? [];
  if (name === 'COPY') return flags.flatMap((flag) => /^--from=(.*)$/.exec(flag)?.[1] ?? []);
  return flags
    .filter((flag) => flag.startsWith('--mount='))
    .flatMap((flag) => flag.slice('--mount='.length).split(','))
    .flatMap((option) => /^from=(.*)$/.exec(option)?.[1] ?? []);
}

function unquoted(text: string): string {
  return /^(["'])(.*)\1$/.exec(text)?.[2] ?? text;
}
