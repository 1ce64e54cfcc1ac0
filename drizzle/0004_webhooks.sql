CREATE TABLE `deliveries` (
	`webhook` text NOT NULL,
	`seq` integer NOT NULL,
	`resource` text NOT NULL,
	`record` text NOT NULL,
	`state` text NOT NULL,
	`attempts` integer NOT NULL,
	`nextAt` text,
	`status` integer,
	`error` text,
	`createdAt` text NOT NULL,
	`endedAt` text,
	PRIMARY KEY(`webhook`, `seq`)
) STRICT;
--> statement-breakpoint
CREATE INDEX `deliveries_of_record` ON `deliveries` (`webhook`,`state`,`resource`,`record`,`seq`);
--> statement-breakpoint
CREATE INDEX `deliveries_due` ON `deliveries` (`webhook`,`nextAt`,`seq`);
--> statement-breakpoint
CREATE INDEX `deliveries_ended` ON `deliveries` (`endedAt`);
--> statement-breakpoint
CREATE TABLE `webhooks` (
	`tenant` text NOT NULL,
	`id` text NOT NULL,
	`url` text NOT NULL,
	`resources` text,
	`version` text NOT NULL,
	`secret` text NOT NULL,
	`previousSecret` text,
	`previousUntil` text,
	`state` text NOT NULL,
	`reason` text,
	`scopes` text NOT NULL,
	`subject` text,
	`cursor` integer NOT NULL,
	`createdAt` text NOT NULL,
	`updatedAt` text NOT NULL,
	PRIMARY KEY(`tenant`, `id`)
) STRICT;
--> statement-breakpoint
CREATE UNIQUE INDEX `webhooks_by_id` ON `webhooks` (`id`);
