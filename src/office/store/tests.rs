use super::*;

#[tokio::test]
async fn a_store_opens_in_a_folder_with_a_chinese_name_and_again() {
    let folder = tempfile::tempdir().unwrap().keep().join("青石镇 100%");
    std::fs::create_dir_all(&folder).unwrap();
    for _ in 0..2 {
        let store = Store::in_folder(&folder).await.unwrap();
        let tables: i64 = sqlx::query_scalar("SELECT count(*) FROM sqlite_master WHERE type = 'table'")
            .fetch_one(store.reads())
            .await
            .unwrap();
        assert_eq!(tables, 16);
    }
    assert!(folder.join("office.db").exists());
}
