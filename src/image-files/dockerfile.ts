import { formatPlatform, normalizePlatform, parsePlatform, type Platform } from '../oci/platform.ts';
import { interpolate, InterpolationError } from './interpolation.ts';
import type { NeededImages, SourceContext } from './needed.ts';

/** One instruction of a Dockerfile. */
interface Instruction {
  /** In upper case, such as `FROM`. */
  readonly name: string;
  /** The arguments, with continuation lines joined. */
  readonly rest: string;
  /** The first line. */
  readonly line: number;
}

interface DockerfileLines {
  /** Comments at its top, by lower-case name (Dockerfile reference, "Parser directives"). */
  readonly directives: ReadonlyMap<string, string>;
  readonly instructions: readonly Instruction[];
}

const DIRECTIVE = /^#\s*([A-Za-z][A-Za-z0-9]*)\s*=\s*(\S.*)$/;
const HEREDOC = /(?<!<)<<-?\s*(["']?)([A-Za-z_][A-Za-z0-9_]*)\1/g;
/** Instructions with here-documents (Dockerfile reference, "Here-Documents"). */
const WITH_HEREDOC: ReadonlySet<string> = new Set(['RUN', 'COPY', 'ADD']);

/** The instructions of a Dockerfile, without comments, blank lines and here-documents. */
function dockerfileLines(text: string): DockerfileLines {
  const lines = text.split(/\r?\n/);
  const directives = directivesOf(lines);
  const escape = directives.get('escape') === '`' ? '`' : '\\';
  const instructions: Instruction[] = [];
  const ends = new HeredocEnds(lines);
  for (let at = 0; at < lines.length;) {
    const { content, next } = joined(lines, at, escape);
    const [, name = '', rest = ''] = /^\s*(\w+)\s*(.*)$/s.exec(content) ?? [];
    const instruction = { name: name.toUpperCase(), rest: rest.trim(), line: at + 1 };
    if (name !== '') instructions.push(instruction);
    at = afterHeredocs(ends, next, instruction);
  }
  return { directives, instructions };
}

/** Directives stand before all other lines. */
function directivesOf(lines: readonly string[]): Map<string, string> {
  const directives = new Map<string, string>();
  for (const line of lines) {
    const [, name, value] = DIRECTIVE.exec(line.trim()) ?? [];
    if (name === undefined || value === undefined) break;
    directives.set(name.toLowerCase(), value);
  }
  return directives;
}

function joined(lines: readonly string[], from: number, escape: string): { content: string; next: number } {
  let content = '';
  let at = from;
  for (; at < lines.length; at++) {
    const line = lines[at] ?? '';
    const isSilent = /^\s*(?:#|$)/.test(line);
    // Comments and blank lines between continuation lines do not count.
    if (isSilent && content === '') return { content, next: at + 1 };
    if (isSilent) continue;
    const bare = line.trimEnd();
    if (!bare.endsWith(escape)) return { content: content + line, next: at + 1 };
    content += bare.slice(0, -1);
  }
  return { content, next: at };
}

/** The ends of here-documents. Call `next` with ascending lines only. */
class HeredocEnds {
  /** Numbers of the lines that hold only a delimiter, by delimiter, in descending order. */
  readonly #lines = new Map<string, number[]>();

  constructor(lines: readonly string[]) {
    for (const [at, line] of [...lines.entries()].toReversed()) {
      const text = line.trim();
      if (!/^[A-Za-z_]\w*$/.test(text)) continue;
      const known = this.#lines.get(text);
      if (known === undefined) this.#lines.set(text, [at]);
      else known.push(at);
    }
  }

  /** The first end from the line `from` on. Forgets earlier ends. */
  next(delimiter: string, from: number): number | undefined {
    const known = this.#lines.get(delimiter) ?? [];
    while ((known.at(-1) ?? from) < from) known.pop();
    return known.at(-1);
  }
}

function afterHeredocs(ends: HeredocEnds, from: number, { name, rest }: Instruction): number {
  if (!WITH_HEREDOC.has(name)) return from;
  let at = from;
  for (const [, , delimiter = ''] of rest.matchAll(HEREDOC)) {
    const end = ends.next(delimiter, at);
    // Without an end, `<<` starts no here-document.
    if (end !== undefined) at = end + 1;
  }
  return at;
}

const FILE_NAME = /(?:^|[/\\])(?:Dockerfile|Containerfile)(?:\.[^/\\]*)?$|\.(?:Dockerfile|Containerfile)$/i;

/** Whether a file is a Dockerfile, by its name or its first instruction. */
export function isDockerfile(path: string, text: string): boolean {
  const [first] = dockerfileLines(text).instructions;
  return (
    FILE_NAME.test(path) || (first !== undefined && /^(?:FROM|ARG)$/.test(first.name) && first.rest !== '')
  );
}

/** ARGs that BuildKit sets in each FROM (Dockerfile reference, "Automatic platform ARGs in the global scope"). */
const PLATFORM_ARG = /^(?:BUILD|TARGET)(PLATFORM|OS|ARCH|VARIANT)$/;
/** Builds for these platforms find the stages that only one platform uses. */
const USUAL_PLATFORMS: readonly Platform[] = [
  'linux/amd64',
  'linux/arm64',
  'linux/arm/v7',
  'linux/386',
  'linux/ppc64le',
  'linux/riscv64',
  'linux/s390x',
  'windows/amd64',
].flatMap((name) => parsePlatform(name) ?? []);

/**
 * The images that builds for `platforms` pull: those of `FROM`, `COPY --from`, `RUN --mount=…,from=` and the `syntax`
 * directive. ARGs have the values of `buildArgs`, else their defaults. Stages that only builds for other platforms use are
 * left out. A stage that no build uses counts, because `--target` can name it.
 */
export function dockerfileImages(text: string, context: BuildContext, needed: NeededImages): void {
  const { directives, instructions } = dockerfileLines(text);
  const syntax = directives.get('syntax');
  if (syntax !== undefined) needed.add(1, syntax.split(/\s/)[0] ?? '');
  const { buildArgs, platforms } = context;
  const build = (platform: Platform): Build => new Build(instructions, buildArgs, platform);
  const builds = platforms.map(build);
  const used = new Set([...builds, ...USUAL_PLATFORMS.map(build)].flatMap((each) => [...each.used]));
  for (const each of builds) each.tell(needed, (stage) => each.used.has(stage) || !used.has(stage));
}

export type BuildContext = Pick<SourceContext, 'buildArgs' | 'platforms'>;

/** A stage or an image that a stage begins with or takes files from. */
interface Source {
  /** The number of the stage. */
  readonly stage?: number;
  /** Reports the image, or a problem. */
  readonly tell?: (needed: NeededImages) => void;
}

/** A text with its variables replaced. */
interface Expanded {
  readonly text: string;
  readonly unset: readonly string[];
  readonly isOfPlatform: boolean;
}

/** The build for one platform. */
class Build {
  /** The numbers of the stages that the last stage needs, itself included. */
  readonly used: ReadonlySet<number>;
  readonly #buildArgs: ReadonlyMap<string, string>;
  readonly #platform: Platform;
  /** The ARGs before the first FROM: only these count in FROM. A string is the error of an ARG. */
  readonly #args = new Map<string, Expanded | string>();
  readonly #stages = new Map<string, number>();
  readonly #sources: Source[][] = [];

  constructor(
    instructions: readonly Instruction[],
    buildArgs: ReadonlyMap<string, string>,
    platform: Platform,
  ) {
    this.#buildArgs = buildArgs;
    this.#platform = normalizePlatform(platform);
    for (const instruction of instructions) this.#take(instruction);
    this.used = this.#reached(this.#sources.length - 1);
  }

  tell(needed: NeededImages, isWanted: (stage: number) => boolean): void {
    for (const [stage, sources] of this.#sources.entries()) {
      if (isWanted(stage)) for (const source of sources) source.tell?.(needed);
    }
  }

  #take(instruction: Instruction): void {
    const { name, rest, line } = instruction;
    if (name === 'ARG' && this.#sources.length === 0) this.#takeArgs(rest);
    else if (name === 'FROM') this.#takeFrom(rest, line);
    else if (name === 'COPY' || name === 'RUN') {
      for (const source of sourcesOf(instruction)) this.#takeSource(source, line);
    }
  }

  #takeArgs(rest: string): void {
    for (const [, name = '', value] of rest.matchAll(/([A-Za-z_]\w*)(?:=("[^"]*"|'[^']*'|\S*))?/g)) {
      const given = this.#buildArgs.get(name);
      if (given !== undefined) this.#args.set(name, { text: given, unset: [], isOfPlatform: false });
      // An error counts only where the ARG is used.
      else if (value !== undefined) this.#args.set(name, this.#understood(unquoted(value)));
    }
  }

  #takeFrom(rest: string, line: number): void {
    const words = rest.split(/\s+/);
    const flag = words.find((word) => word.startsWith('--platform='))?.slice('--platform='.length);
    const [source = '', as, alias] = words.filter((word) => !word.startsWith('--'));
    const name = this.#understood(unquoted(source));
    const platform = flag === undefined ? undefined : this.#understood(unquoted(flag));
    this.#sources.push([this.#base(line, name, platform)]);
    if (as?.toLowerCase() === 'as' && alias !== undefined) {
      this.#stages.set(alias.toLowerCase(), this.#sources.length - 1);
    }
  }

  #base(line: number, name: Expanded | string, wanted: Expanded | string | undefined): Source {
    const broken = [name, wanted].find((each) => typeof each === 'string');
    if (broken !== undefined || typeof name === 'string') return problem(line, String(broken));
    const stage = this.#stages.get(name.text.toLowerCase());
    if (stage !== undefined) return { stage };
    if (name.text === 'scratch') return {};
    const flag = typeof wanted === 'string' || this.#isOwn(wanted) ? undefined : wanted;
    const { isOfPlatform } = name;
    const platform = flag?.text ?? (isOfPlatform ? formatPlatform(this.#platform) : undefined);
    const how = { platform, unset: [...name.unset, ...(flag?.unset ?? [])], isMadeForPlatform: isOfPlatform };
    return { tell: (needed) => needed.add(line, name.text, how) };
  }

  /** Whether `--platform` names the platform of the build itself. */
  #isOwn(flag: Expanded | undefined): boolean {
    const platform = flag?.isOfPlatform === true ? parsePlatform(flag.text) : undefined;
    return (
      platform !== undefined && formatPlatform(normalizePlatform(platform)) === formatPlatform(this.#platform)
    );
  }

  /** `source` is the name or number of an earlier stage, or an image. */
  #takeSource(source: string, line: number): void {
    const stage = /^\d+$/.test(source) ? Number(source) : this.#stages.get(source.toLowerCase());
    const sources = this.#sources.at(-1);
    if (source === '' || source === 'scratch' || sources === undefined) return;
    if (stage !== undefined) sources.push({ stage });
    else if (source.includes('$')) {
      sources.push(problem(line, 'builders do not expand variables in from=; name a stage'));
    } else sources.push({ tell: (needed) => needed.add(line, source) });
  }

  #reached(last: number): ReadonlySet<number> {
    const reached = new Set<number>([last]);
    // The loop visits stages that it adds too.
    for (const stage of reached) {
      for (const source of this.#sources[stage] ?? [])
        if (source.stage !== undefined) reached.add(source.stage);
    }
    return reached;
  }

  /** `text` with its variables replaced, or the error as a string. */
  #understood(text: string): Expanded | string {
    const unset = new Set<string>();
    let isOfPlatform = false;
    const variables = (name: string): string | undefined => {
      const arg = this.#args.get(name);
      if (typeof arg === 'string') throw new InterpolationError(arg);
      for (const each of arg?.unset ?? []) unset.add(each);
      const automatic = arg === undefined ? this.#automatic(name) : undefined;
      isOfPlatform ||= automatic !== undefined || arg?.isOfPlatform === true;
      return arg?.text ?? automatic;
    };
    try {
      const expanded = interpolate(text, { variables, escape: '\\$', onUnset: (name) => unset.add(name) });
      return { text: expanded, unset: [...unset], isOfPlatform };
    } catch (error) {
      if (error instanceof InterpolationError) return error.message;
      throw error;
    }
  }

  #automatic(name: string): string | undefined {
    const { os, architecture, variant = '' } = this.#platform;
    switch (PLATFORM_ARG.exec(name)?.[1]) {
      case 'PLATFORM':
        return formatPlatform(this.#platform);
      case 'OS':
        return os;
      case 'ARCH':
        return architecture;
      case 'VARIANT':
        return variant;
      default:
        return undefined;
    }
  }
}

function problem(line: number, message: string): Source {
  return { tell: (needed) => needed.problem(line, message) };
}

/** The values of `--from` and of `from=` in an instruction. */
function sourcesOf({ name, rest }: Instruction): string[] {
  // Flags stand first, and no name of an image has quotes.
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
