// The words of other tabs and of folds wait until what is seen has been told.
language => new Promise(go => setTimeout(() => go([language]), 300));
