import { readFileSync, writeFileSync, mkdirSync } from 'node:fs';
import { exampleFiles } from './examples.ts';
import { settingsYaml, withSettingsTable } from './settings.ts';

/** Run in the project's folder, writes anew what comes from the code: config/pierhead.yaml, the table in README.md, config/clients. */

writeFileSync('config/pierhead.yaml', settingsYaml());
writeFileSync('README.md', withSettingsTable(readFileSync('README.md', 'utf8')));
mkdirSync('config/clients/tls', { recursive: true });
for (const { name, text } of exampleFiles()) writeFileSync(`config/clients/${name}`, text);
