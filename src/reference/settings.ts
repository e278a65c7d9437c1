import { SETTING_GROUPS, type SettingGroup } from '../config/groups.ts';
import type { Raw, Setting } from '../config/fields.ts';
import { anchor, code, plain } from './markdown.ts';

/** All settings in Markdown: a list of the groups, then each group with an entry for each setting. */
export function settingsSections(): Readonly<Record<string, string>> {
  const groups = SETTING_GROUPS.map(listItem).join('\n');
  const settings = SETTING_GROUPS.map(groupSection).join('\n\n');
  return { groups, settings };
}

function listItem(group: SettingGroup): string {
  const keys = Object.keys(group.settings).map((key) => link(group, key));
  const place = group.prefix === '' ? '' : ` (${code(group.prefix)})`;
  return `- **[${group.title}](#${anchor(group.title)})**${place}: ${keys.join(', ')}`;
}

function link({ prefix }: SettingGroup, key: string): string {
  return `[${code(key)}](#${anchor(prefix + key)})`;
}

function groupSection(group: SettingGroup): string {
  const entries = Object.entries(group.settings).map(([key, setting]) => entry(group, key, setting));
  const about = group.about === undefined ? [] : [linked(group.about, group)];
  return [`## ${group.title}`, ...about, ...entries].join('\n\n');
}

function entry(group: SettingGroup, key: string, setting: Setting): string {
  const { help, more, env, flag, argument, example, needs = [] } = setting;
  // An identity has fewer kinds of logins than an upstream.
  const excludes = setting.excludes?.filter((each) => Object.hasOwn(group.settings, each)) ?? [];
  const names = (keys: readonly string[]) => keys.map((each) => link(group, each)).join(', ');
  const flags = argument === undefined ? [flag, flag?.replace('--', '--no-')] : [`${flag} ${argument}`];
  const facts = [
    `Default: ${setting.default === undefined ? 'none' : values(setting.default)}`,
    `Allowed: ${plain(setting.allowed)}`,
    ...(example === undefined ? [] : [`Example: ${values(example)}`]),
    ...(env === undefined ? ['In a settings file only'] : [`Variable: ${code(env)}`]),
    ...(flag === undefined ? [] : [`Flag: ${flags.map((each) => code(each ?? '')).join(', ')}`]),
    ...(setting.holds === 'secret' ? ['Secret: masked by `pierhead config`, never in the log'] : []),
    ...(needs.length === 0 ? [] : [`Needs ${needs.length === 1 ? '' : 'one of '}${names(needs)}`]),
    ...(excludes.length === 0 ? [] : [`Not together with ${names(excludes)}`]),
  ];
  const text = [help, more].filter((each) => each !== undefined).join(' ');
  return [
    `### ${code(group.prefix + key)}`,
    linked(text, group),
    facts.map((fact) => `- ${fact}`).join('\n'),
  ].join('\n\n');
}

function values(raw: Raw): string {
  return [raw].flat().map(code).join(', ');
}

/** Links names of settings in backticks to their entries. Settings of the same group come first. */
function linked(text: string, group: SettingGroup): string {
  const homes = [group, ...SETTING_GROUPS.filter(({ prefix }) => prefix === '')];
  return plain(text).replaceAll(/`(\w+)`/g, (name, key: string) => {
    const home = homes.find(({ settings }) => Object.hasOwn(settings, key));
    return home === undefined ? name : link(home, key);
  });
}
