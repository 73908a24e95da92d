//! The contract over HTTP: a real server, real sockets, and every rule of sections 1 and 2 as a law of its own. Every pair
//! of stores keeps every law; after each one, every store must agree with every other one.
//!
//! A law that is not listed below is reported as never used.

#![allow(clippy::unwrap_used)] // a test may fail

mod auth;
mod body_budget;
mod crowd;
mod drain;
mod entity_tags;
mod erase;
mod global_search;
mod guest_batch;
mod ids;
mod input;
mod lines;
mod migrate;
mod operations;
mod paging;
mod problems;
mod prompts;
mod raw;
mod repeats;
mod response_cache;
mod saved;
mod search;
mod session;
mod streaming;

/// One test for each law.
macro_rules! tests {
    ($pair:ident; $($laws:ident with $plan:path { $($law:ident,)* })*) => {
        $(mod $laws {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $law() {
                let pair = guestbook_testkit::http_harness::server::Pair::$pair;
                let site = guestbook_testkit::http_harness::server::Site::open(pair, $plan()).await;
                crate::api::$laws::$law(&site).await;
                site.finish().await;
            })*
        })*
    };
}

/// Every law, for one pair of stores.
macro_rules! contract {
    ($name:ident, $pair:ident) => {
        mod $name {
            tests! {
                $pair;
                saved with guestbook_testkit::http_harness::server::Plan::default {
                    the_first_message_creates_and_its_answer_has_exactly_these_fields,
                    the_second_message_updates,
                    ids_are_version_7_uuids,
                    every_guest_has_a_conversation_of_its_own,
                    a_message_is_read_back_with_exactly_these_fields,
                    a_text_without_a_known_word_has_no_vector_and_that_is_no_fault,
                    every_role_of_the_contract_is_kept,
                    metadata_is_kept_and_returned,
                    metadata_of_exactly_4_kib_is_kept,
                    a_null_metadata_or_id_is_as_none,
                    unknown_fields_are_ignored,
                    any_unicode_text_comes_back_as_it_was_sent,
                }
                input with guestbook_testkit::http_harness::server::Plan::default {
                    role_and_content_are_required,
                    every_field_is_a_string,
                    a_role_of_another_spelling_is_refused,
                    blank_content_is_refused,
                    content_with_nul_is_refused,
                    content_over_65536_bytes_is_refused_and_content_of_them_is_kept,
                    what_is_no_rfc_3339_time_is_refused,
                    times_come_back_as_utc_to_the_millisecond,
                    the_order_is_that_of_arrival_and_not_of_the_clients_time,
                    metadata_must_be_an_object_of_at_most_4_kib_without_nul,
                    metadata_nested_deeper_than_50_levels_is_refused_by_every_route,
                    metadata_that_other_readers_of_json_could_not_read_are_refused_by_every_route,
                    texts_with_half_a_character_are_refused_and_named,
                    dots_alone_are_refused_wherever_an_id_is_taken,
                    an_idempotency_key_is_1_to_255_printable_characters,
                    two_idempotency_keys_are_refused,
                    illegal_guest_ids_are_refused_by_every_route_of_a_guest,
                    every_legal_character_makes_a_guest_id,
                    a_percent_encoded_guest_id_is_the_same_guest,
                    the_case_of_a_guest_id_is_kept,
                }
                body_budget with guestbook_testkit::http_harness::server::Plan::default {
                    malformed_json_is_a_400,
                    a_malformed_array_of_messages_is_a_400,
                    a_body_that_is_not_utf_8_is_a_400,
                    json_that_is_no_object_is_a_422,
                    an_array_is_no_message_within_a_batch,
                    a_body_nested_100_000_deep_is_answered,
                    a_body_of_another_type_is_a_415,
                    json_by_any_of_its_names_is_taken,
                    a_byte_order_mark_before_json_is_skipped,
                }
                repeats with guestbook_testkit::http_harness::server::Plan::default {
                    an_id_chosen_by_the_client_is_the_messages_id,
                    an_id_again_gives_the_first_answer_and_stores_nothing,
                    an_id_in_another_spelling_is_the_same_id,
                    a_key_again_gives_the_first_answer_and_stores_nothing,
                    a_replay_counts_no_usage,
                    a_key_with_other_content_is_a_409_and_stores_nothing,
                    an_id_with_other_content_is_a_409,
                    a_key_of_another_guest_is_another_message,
                    an_id_beside_a_key_is_refused,
                    a_key_sent_64_times_at_once_is_one_message,
                    of_two_contents_racing_under_one_key_one_is_stored,
                    a_deleted_message_may_be_sent_again,
                }
                ids with guestbook_testkit::http_harness::server::Plan::default {
                    any_short_text_is_an_id_and_comes_back_as_it_was_sent,
                    what_is_no_id_is_refused,
                    two_guests_may_use_the_same_id,
                    a_planted_id_does_not_block_another_guests_key,
                    one_id_for_many_guests_in_lines_is_stored_for_each,
                    one_id_sent_by_many_guests_at_once_is_stored_for_each,
                    other_metadata_or_another_time_under_an_id_is_a_409,
                    without_a_timestamp_the_time_is_ours_and_a_repetition_is_one,
                    a_batch_under_its_key_is_exactly_the_same_or_a_409,
                    a_batch_under_the_key_of_one_message_is_a_409,
                    an_id_is_the_same_message_after_signing_up,
                    searches_and_contexts_show_the_id_that_was_sent,
                }
                guest_batch with guestbook_testkit::http_harness::server::Plan::default {
                    there_is_one_answer_per_message_in_order,
                    only_the_first_of_a_new_guest_creates,
                    one_bad_message_refuses_all_and_is_named,
                    an_element_that_is_no_object_is_named,
                    a_thousand_are_taken_and_one_more_is_refused,
                    messages_must_be_an_array_that_is_not_empty,
                    a_batch_is_replayed_by_its_key,
                    a_batch_with_other_content_under_its_key_is_a_409_and_stores_nothing,
                    a_batch_with_more_messages_under_its_key_is_a_409_and_stores_nothing,
                    a_conflict_in_a_batch_of_one_is_named_as_in_any_other,
                    a_batch_may_carry_ids,
                    batches_at_once_do_not_mix,
                }
                lines with guestbook_testkit::http_harness::server::Plan::default {
                    lines_have_one_answer_line_each_in_order,
                    an_array_has_one_answer_each_in_order,
                    a_line_that_is_no_json_is_a_400_in_its_place,
                    lines_may_end_with_a_carriage_return_and_the_last_without_an_end,
                    no_line_has_no_answer,
                    more_than_100_000_messages_at_a_time_are_a_413,
                    the_order_of_a_guests_lines_is_kept,
                    a_line_repeated_by_its_id_is_replayed_in_its_place,
                    a_byte_order_mark_before_the_lines_is_skipped,
                    a_line_that_is_not_utf_8_is_refused_alone_and_by_its_number,
                }
                paging with guestbook_testkit::http_harness::server::Plan::default {
                    an_unknown_guest_has_an_empty_history,
                    without_a_limit_everything_comes_in_order,
                    a_limit_gives_the_first_messages,
                    before_gives_the_messages_just_below_it_in_order,
                    after_gives_the_messages_just_above_it,
                    links_lead_upwards_to_the_end,
                    links_lead_downwards_to_the_beginning,
                    last_gives_the_newest_messages_in_order_and_its_links_lead_down,
                    last_stands_alone,
                    a_page_is_capped_at_10_000_and_the_link_leads_on,
                    a_page_ends_at_16_mib_and_the_link_leads_on,
                    what_is_no_number_is_refused_and_named,
                    before_and_after_together_are_refused,
                    unknown_parameters_are_ignored,
                }
                response_cache with guestbook_testkit::http_harness::server::Plan::default {
                    each_message_is_in_the_next_read,
                    each_page_is_its_own_and_its_link_leads_on_when_there_is_more,
                    what_is_deleted_or_migrated_is_gone_at_once,
                    readers_never_see_less_than_was_answered,
                }
                entity_tags with guestbook_testkit::http_harness::server::Plan::default {
                    who_has_a_page_is_told_so_and_sent_nothing,
                    a_page_has_another_tag_after_each_change,
                    what_is_erased_and_said_again_is_another_page,
                    a_page_that_is_not_changed_by_its_next_one_is_still_read_anew,
                }
                streaming with guestbook_testkit::http_harness::server::Plan::default {
                    a_long_page_is_sent_in_chunks_and_a_short_one_in_one_piece,
                    a_client_of_http_1_0_gets_a_long_page_whole_and_with_its_length,
                    a_long_conversation_has_its_row_and_all_of_its_messages,
                    a_page_whose_chat_is_erased_in_the_middle_is_cut_off,
                    a_page_is_sent_to_its_end_while_more_is_said,
                }
                session with guestbook_testkit::http_harness::server::Plan::default {
                    the_list_is_exactly_what_was_appended,
                    a_long_list_is_sent_whole_and_in_chunks,
                    a_list_is_read_page_by_page_in_both_directions,
                    pages_of_a_list_begun_anew_have_nothing_older,
                    the_ttl_runs_with_the_clock,
                    every_message_prolongs_the_list,
                    reading_does_not_prolong_the_list,
                    an_expired_list_is_a_404_and_the_history_stays,
                    a_message_after_the_expiry_begins_the_list_anew,
                    a_replay_after_the_expiry_says_that_the_list_is_gone,
                    an_unknown_guest_has_no_list,
                    a_lost_list_is_mended_when_it_is_read,
                    without_the_list_store_messages_are_stored_and_the_receipt_says_so,
                }
                search with guestbook_testkit::http_harness::server::Plan::default {
                    a_search_by_meaning_has_exactly_these_fields,
                    a_search_by_words_takes_them_literally_the_newest_first,
                    ten_hits_come_unless_told,
                    what_cannot_be_looked_for_is_refused_and_named,
                    an_unknown_guest_or_user_has_no_hits,
                    a_message_without_a_vector_is_told_by_the_counts,
                    a_deleted_message_is_not_found_in_the_moment_after,
                    a_user_finds_what_all_of_its_guests_said,
                    a_context_has_exactly_these_fields,
                    a_context_with_a_question_has_what_is_relevant_before_what_is_recent,
                    a_context_of_an_unknown_guest_is_empty,
                    a_budget_that_is_none_is_refused_and_named,
                }
                erase with guestbook_testkit::http_harness::server::Plan::default {
                    a_deletion_says_what_it_removed,
                    a_deletion_leaves_nothing,
                    a_deletion_repeated_is_zeros,
                    a_deletion_of_an_unknown_guest_is_zeros,
                    a_deletion_spares_every_other_guest,
                    a_deleted_guest_begins_anew,
                }
                migrate with guestbook_testkit::http_harness::server::Plan::default {
                    a_migration_says_what_it_moved,
                    a_migration_repeated_is_zeros,
                    a_migration_of_an_unknown_guest_is_zeros,
                    a_migrated_guest_has_no_chat_and_no_list,
                    every_counter_is_summed_into_the_users,
                    a_users_conversations_come_with_everything_but_messages,
                    a_user_may_own_several_conversations_paged_by_links,
                    a_user_without_chats_has_an_empty_list,
                    a_conversation_is_read_with_its_messages_and_pages,
                    an_unknown_conversation_is_a_404_and_a_wrong_id_a_422,
                    any_user_id_of_text_can_be_migrated_to_and_read,
                    a_user_must_be_named,
                    a_guest_begins_anew_after_a_migration,
                    deleting_the_guest_spares_what_has_become_a_users,
                }
                global_search with guestbook_testkit::http_harness::server::Plan::default {
                    the_nearest_message_of_all_guests_comes_first,
                    what_was_answered_as_saved_is_found_at_once,
                    a_deleted_message_is_not_found_any_more,
                    a_search_is_narrowed_by_role_platform_time_and_score,
                    a_rare_platform_is_found_below_any_number_of_others,
                    a_fault_of_a_search_is_told_with_its_field,
                    readiness_says_how_far_the_index_is,
                    a_search_lets_go_of_what_it_did_not_find_any_more,
                    without_an_index_over_words_the_answer_says_how_to_have_one,
                }
                operations with guestbook_testkit::http_harness::server::Plan::default {
                    an_empty_store_is_well,
                    a_report_counts_expected_and_found_per_table,
                    a_guests_report_counts_only_the_guests_rows,
                    a_report_of_an_unknown_guest_is_zeros_and_well,
                    a_lost_list_is_told_with_guest_and_reason_and_looking_mends_nothing,
                    a_repair_mends_a_lost_list_and_says_so,
                    a_repair_of_what_is_well_does_nothing,
                    an_expired_list_is_no_difference,
                    verification_is_well_while_messages_come_in,
                    health_is_of_the_process,
                    readiness_names_each_backend,
                }
                problems with guestbook_testkit::http_harness::server::Plan::default {
                    an_unknown_route_is_a_404,
                    a_method_a_route_does_not_have_is_a_405_that_lists_those_it_has,
                    head_is_answered_like_get_without_a_body,
                    a_database_that_does_not_answer_is_a_503_that_hides_why,
                    a_database_that_fails_is_told_line_by_line,
                    a_service_that_stops_is_a_503,
                    a_chat_that_counts_too_few_messages_is_a_500_that_says_how_to_mend_it,
                }
                prompts with guestbook_testkit::http_harness::server::Plan::default {
                    an_answer_comes_back_with_exactly_these_fields,
                    white_space_does_not_count_and_case_does,
                    an_answer_stays_in_its_scope_and_its_setting,
                    a_context_may_be_sent_as_its_hash,
                    a_prompt_in_other_words_is_answered_only_where_both_sides_ask_for_it,
                    what_only_looks_alike_is_not_answered,
                    an_answer_ends_with_its_ttl,
                    a_later_answer_takes_the_place,
                    answers_kept_at_once_are_all_there,
                    a_scope_is_removed_and_no_other,
                    a_guest_that_is_erased_leaves_no_answer,
                    lookups_of_a_guest_are_counted_and_everything_still_agrees,
                    a_guest_is_never_given_an_answer_of_another,
                    a_fault_names_its_field,
                }
                auth with crate::api::auth::with_a_key {
                    every_cell_but_that_of_the_right_key_has_one_and_the_same_401,
                    only_health_and_readiness_are_open,
                    the_right_key_opens_every_route,
                    an_unknown_route_is_a_404_for_who_has_the_key,
                    nothing_is_stored_or_read_without_the_key,
                }
                drain with guestbook_testkit::http_harness::server::Plan::default {
                    a_connection_goes_on_behind_a_refusal_or_says_that_it_ends,
                    whoever_sends_all_of_a_body_that_is_too_large_hears_why,
                }
                raw with crate::api::raw::impatient {
                    a_head_that_trickles_is_cut_off,
                    an_idle_connection_is_closed_after_its_answer,
                    a_body_that_is_cut_off_stores_nothing,
                    pipelined_requests_are_answered_in_order,
                    a_client_that_leaves_before_the_answer_changes_nothing,
                    dots_alone_are_no_guest_or_user_ids,
                    fifty_stalled_connections_keep_no_one_waiting,
                }
            }
            mod keyless {
                tests! {
                    $pair;
                    prompts with crate::api::prompts::without_a_model {
                        without_a_model_similar_prompts_are_refused_and_equal_ones_found,
                    }
                    auth with guestbook_testkit::http_harness::server::Plan::default {
                        a_server_without_a_key_asks_nobody_for_one,
                    }
                }
            }
            mod modelless {
                tests! {
                    $pair;
                    search with crate::api::search::without_a_model {
                        without_a_model_words_are_found_and_meaning_says_what_to_do,
                    }
                }
            }
            mod hung {
                tests! {
                    $pair;
                    search with crate::api::search::with_a_model_that_hangs {
                        a_model_that_hangs_is_a_503_that_says_so_and_holds_up_nothing_else,
                    }
                }
            }
            mod worded {
                tests! {
                    $pair;
                    global_search with crate::api::global_search::with_words {
                        words_are_found_in_what_all_guests_said,
                        deleted_words_are_not_found_any_more,
                    }
                }
            }
            mod limits {
                tests! {
                    $pair;
                    body_budget with crate::api::body_budget::small_bodies {
                    a_body_over_the_limit_is_a_413_and_one_of_it_is_taken,
                    a_chunked_body_over_the_limit_is_a_413,
                    }
                    crowd with crate::api::crowd::little_room {
                    a_body_beyond_the_budget_is_a_503_and_stores_nothing,
                    whoever_holds_most_makes_room_for_a_small_message,
                    bodies_of_the_full_size_are_taken_one_after_the_other,
                    }
                    operations with crate::api::operations::hurried {
                    everything_is_recounted_by_one_at_a_time,
                    }
                }
            }
        }
    };
}

contract!(memory, Memory);
contract!(sqlite_sled, SqliteSled);
