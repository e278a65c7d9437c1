import { readFileSync, writeFileSync, mkdirSync } from 'node:fs';
import { exampleFiles } from './examples.ts';
import { settingsYaml, withSettingsTable } from './settings.ts';

const SETTINGS_PAGE = 'docs/reference/settings.md';

/** Run in the project's folder, writes anew what comes from the code: config/pierhead.yaml, the table of docs/reference/settings.md, config/clients. */

writeFileSync('config/pierhead.yaml', settingsYaml());
writeFileSync(SETTINGS_PAGE, withSettingsTable(readFileSync(SETTINGS_PAGE, 'utf8')));
mkdirSync('config/clients/tls', { recursive: true });
for (const { name, text } of exampleFiles()) writeFileSync(`config/clients/${name}`, text);
