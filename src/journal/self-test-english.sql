-- What a self-test found, said in English too; none for what was found before.
ALTER TABLE self_test ADD COLUMN fault_en TEXT;
