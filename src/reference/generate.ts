import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { exampleFiles } from './examples.ts';
import { apiSections } from './api.ts';
import { commandsSections } from './commands.ts';
import { withSections } from './markdown.ts';
import { metricsSections } from './metrics.ts';
import { settingsYaml } from './settings-file.ts';
import { settingsSections } from './settings.ts';

/* Writes docs/reference, config/pierhead.yaml and config/clients. Runs in the folder of the project. */

function fill(page: string, sections: Readonly<Record<string, string>>): void {
  const path = `docs/reference/${page}.md`;
  writeFileSync(path, withSections(readFileSync(path, 'utf8'), sections));
}

fill('settings', settingsSections());
fill('commands', commandsSections());
fill('metrics', await metricsSections());
fill('api', apiSections());
writeFileSync('config/pierhead.yaml', settingsYaml());
mkdirSync('config/clients/tls', { recursive: true });
for (const { name, text } of exampleFiles()) writeFileSync(`config/clients/${name}`, text);
