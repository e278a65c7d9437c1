import { EXIT_CODES } from '../cli/exit.ts';
import { COMMANDS, COMMAND_PLACES, type CommandRow } from '../commands.ts';
import { createProgram, SETTINGS_HEADING } from '../program.ts';
import { anchor, code, plain, table } from './markdown.ts';

type Command = ReturnType<typeof createProgram>;

/** The commands of commander in Markdown: a list, the exit codes, then each command. */
export function commandsSections(): Readonly<Record<string, string>> {
  const program = createProgram(() => undefined);
  const list = COMMANDS.map(({ name, description }) => [
    `[${code(name)}](#${anchor(name)})`,
    plain(description),
  ]);
  const sections = COMMANDS.map((row) => {
    const command = program.commands.find((each) => each.name() === row.name);
    if (command === undefined) throw new Error(`commander has no command ${row.name}`);
    return section(row, command);
  });
  return {
    list: table([['command', 'what it does'], ...list]),
    'exit codes': table([['exit code', 'meaning'], ...Object.entries(EXIT_CODES)]),
    commands: sections.join('\n\n'),
  };
}

function section({ name, place, exitsWith1, examples }: CommandRow, command: Command): string {
  const inputs = [
    ...command.registeredArguments.map((each) => [code(argumentText(each)), plain(each.description)]),
    ...command.options
      .filter(({ helpGroupHeading }) => helpGroupHeading !== SETTINGS_HEADING)
      .map(({ flags, description }) => [code(flags), plain(description)]),
  ];
  return [
    `## ${code(name)}`,
    plain(command.description()),
    `Usage: ${code(`pierhead ${name} ${command.usage()}`)}`,
    ['```sh', ...examples, '```'].join('\n'),
    ...(inputs.length === 0 ? [] : [table([['argument or option', 'meaning'], ...inputs])]),
    `${COMMAND_PLACES[place]}${exitsWith1 === undefined ? '' : ` Exit code 1: ${plain(exitsWith1)}.`}`,
  ].join('\n\n');
}

function argumentText(argument: Command['registeredArguments'][number]): string {
  const text = `${argument.name()}${argument.variadic ? '...' : ''}`;
  return argument.required ? `<${text}>` : `[${text}]`;
}
