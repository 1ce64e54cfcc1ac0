CREATE VIEW `mustChange` AS select 0 as "rows";
--> statement-breakpoint
CREATE TRIGGER "mustChange_refuses" INSTEAD OF INSERT ON "mustChange" WHEN new."rows" is 0 BEGIN
  select raise(abort, 'no row was changed');
END;
