ALTER TABLE `keys` ADD `changed` integer DEFAULT 0 NOT NULL;
--> statement-breakpoint
CREATE INDEX `keys_changed` ON `keys` (`changed`,`hash`);
--> statement-breakpoint
CREATE TRIGGER "keys_numbers_new" AFTER INSERT ON "keys" BEGIN
  update keys set changed = (select coalesce(max(changed), 0) + 1 from keys) where hash = new.hash;
END;
--> statement-breakpoint
CREATE TRIGGER "keys_numbers_changed" AFTER UPDATE OF hash, id, tenant, scopes, subject, createdAt, revokedAt, version ON "keys" BEGIN
  update keys set changed = (select coalesce(max(changed), 0) + 1 from keys) where hash = new.hash;
END;
