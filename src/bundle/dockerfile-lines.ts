/** One instruction of a Dockerfile: `FROM`, what follows it in one line, and where it begins. */
export interface Instruction {
  /** Upper case. */
  readonly name: string;
  readonly rest: string;
  readonly line: number;
}

export interface DockerfileLines {
  /** Comments at its top, by lower-case name (Dockerfile reference, "Parser directives"). */
  readonly directives: ReadonlyMap<string, string>;
  readonly instructions: readonly Instruction[];
}

const DIRECTIVE = /^#\s*([A-Za-z][A-Za-z0-9]*)\s*=\s*(\S.*)$/;
const HEREDOC = /(?<!<)<<-?\s*(["']?)([A-Za-z_][A-Za-z0-9_]*)\1/g;
/** These take here-documents (Dockerfile reference, "Here-Documents"). */
const WITH_HEREDOC: ReadonlySet<string> = new Set(['RUN', 'COPY', 'ADD']);

/** The instructions of a Dockerfile: lines that go on joined, comments, blank lines and here-documents left out. */
export function dockerfileLines(text: string): DockerfileLines {
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

/** Only comments before anything else are directives. */
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
    // Between lines that go on, comments and blank lines are as if they were not there.
    if (isSilent && content === '') return { content, next: at + 1 };
    if (isSilent) continue;
    const bare = line.trimEnd();
    if (!bare.endsWith(escape)) return { content: content + line, next: at + 1 };
    content += bare.slice(0, -1);
  }
  return { content, next: at };
}

/** Where here-documents end, to be asked from the first line to the last. */
class HeredocEnds {
  /** The lines that are a delimiter and nothing else, by what they are, the next one last. */
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

  /** The first one from the line `from` on; those before it are forgotten. */
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
    // One that does not end is none.
    if (end !== undefined) at = end + 1;
  }
  return at;
}
